// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
)

// LoginError says that the docker configuration cannot be used. It wraps
// [bundle.ErrInvalid].
type LoginError struct {
	Config string // path of the file
	Why    string // may hold what a credential helper said: text from outside
}

// Error names the file and what is wrong with it.
func (e *LoginError) Error() string { return "docker configuration " + e.Config + ": " + e.Why }

// Hint says what to do.
func (*LoginError) Hint() string {
	return "mend the file, or let DOCKER_CONFIG name a directory with a sound config.json; an empty directory is no login"
}

// Unwrap returns [bundle.ErrInvalid].
func (*LoginError) Unwrap() error { return bundle.ErrInvalid }

// logins are those of the docker configuration. A credential helper that does
// not work, because it is not in PATH or its store is locked, must not keep what
// is public from the user: without a login the registry itself decides.
type logins struct {
	credentials.Store
	config string
	events bundle.EventFunc

	mu   sync.Mutex
	told map[string]bool // what was said
}

// credentialStore is o.Credentials or the docker configuration. The error is a
// [*LoginError].
func credentialStore(o Options) (credentials.Store, error) {
	if o.Credentials != nil {
		return o.Credentials, nil
	}
	if _, err := os.UserHomeDir(); err != nil && os.Getenv("DOCKER_CONFIG") == "" {
		return credentials.NewMemoryStore(), nil // no home, no configuration: anonymous
	}
	store, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if errors.Is(err, syscall.ENOTDIR) {
		return credentials.NewMemoryStore(), nil // a home like /dev/null holds no configuration
	}
	if err != nil {
		file, text := dockerConfig(), err.Error()
		if at := strings.LastIndex(text, file+": "); at >= 0 { // it is named already
			text = text[at+len(file)+2:]
		}
		return nil, &LoginError{Config: file, Why: text}
	}
	return &logins{Store: store, config: store.ConfigPath(), events: o.Events, told: map[string]bool{}}, nil
}

// dockerConfig is where the docker configuration lies.
func dockerConfig() string {
	dir := os.Getenv("DOCKER_CONFIG")
	if dir == "" {
		home, _ := os.UserHomeDir() // it was found before
		dir = filepath.Join(home, ".docker")
	}
	return filepath.Join(dir, "config.json")
}

// Get implements [credentials.Store].
func (l *logins) Get(ctx context.Context, host string) (auth.Credential, error) {
	cred, err := l.Store.Get(ctx, host)
	if err == nil {
		return cred, nil
	}
	if cause := context.Cause(ctx); cause != nil {
		return auth.EmptyCredential, cause
	}
	l.tell(fmt.Sprintf("no login for %s, going on without: %s: %.300q", host, l.config, err.Error()))
	return auth.EmptyCredential, nil
}

// tell says a thing once.
func (l *logins) tell(what string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.told[what] {
		l.told[what] = true
		l.events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: what})
	}
}
