// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package registry owns the embedded registry: distribution's own handlers
// over its file system driver. It keeps tags, serves ranges and referrers by
// tag, and survives a restart. Nothing is deleted and nobody is asked for a
// password: it is for loopback, demonstrations and tests.
package registry

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/distribution/distribution/v3/configuration"
	"github.com/distribution/distribution/v3/registry/handlers"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem" // registers the driver
	"github.com/sirupsen/logrus"
)

// stopTimeout is how long requests may go on after Serve was told to stop.
const stopTimeout = 5 * time.Second

// Handler serves the registry whose data lie in dir until ctx is done. The
// library logs through logrus' standard logger only, so that logger is set to
// errors, and those that are mere answers (404 and the like) are left out.
func Handler(ctx context.Context, dir string) (h http.Handler, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("registry: %w", err)
	}
	logrus.SetLevel(logrus.ErrorLevel)
	logrus.SetFormatter(&quiet{})
	defer func() {
		// The library panics on what it cannot configure.
		if p := recover(); p != nil {
			h, err = nil, fmt.Errorf("registry in %s: %v", dir, p)
		}
	}()
	config := &configuration.Configuration{
		Version: configuration.MajorMinorVersion(0, 1),
		Storage: configuration.Storage{
			"filesystem":  configuration.Parameters{"rootdirectory": dir},
			"delete":      configuration.Parameters{"enabled": false},
			"maintenance": configuration.Parameters{"uploadpurging": map[any]any{"enabled": false}},
		},
	}
	config.Log.Level = "error"
	config.Log.AccessLog.Disabled = true
	config.HTTP.Secret = rand.Text()
	config.Catalog.MaxEntries = 1000
	return readAhead(handlers.NewApp(ctx, config)), nil
}

// quiet drops the log lines that only repeat an answer to a client.
type quiet struct{ logrus.TextFormatter }

// Format implements logrus.Formatter.
func (q *quiet) Format(e *logrus.Entry) ([]byte, error) {
	if status, ok := e.Data["http.response.status"].(int); ok && status < http.StatusInternalServerError {
		return nil, nil
	}
	return q.TextFormatter.Format(e)
}

// Serve serves a registry that [Handler] made on ln until ctx is done, then lets
// running requests end. It closes ln. A stop that was asked for is no error.
func Serve(ctx context.Context, ln net.Listener, h http.Handler) error {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 30 * time.Second,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(io.Discard, "", 0), // of broken connections, which clients report
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	select {
	case err := <-served:
		return fmt.Errorf("registry on %s: %w", ln.Addr(), err)
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := server.Shutdown(stop); err != nil {
		return errors.Join(fmt.Errorf("registry on %s: %w", ln.Addr(), err), server.Close())
	}
	return nil
}
