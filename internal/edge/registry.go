// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"flag"
	"io/fs"
	"os"
	"syscall"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
)

// Registry is how the user wants registries to be spoken to.
type Registry struct {
	CAFile      string // --ca-file, which is for every other server too
	plainHTTP   bool
	allowRealms []string
}

// Flags adds the flags to those of a command line.
func (r *Registry) Flags(flags *flag.FlagSet) {
	flags.BoolVar(&r.plainHTTP, "plain-http", false, "talk to registries without TLS (loopback always is)")
	flags.Func("ca-file", "PEM `file` of certificates to trust besides the system's", func(path string) error {
		r.CAFile = path
		info, err := os.Stat(path)
		if err == nil && info.IsDir() {
			err = &fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR}
		}
		return err
	})
	flags.Func("allow-realm", "`host` that may take logins although its address is private and the registry's is not; may be repeated", func(host string) error {
		r.allowRealms = append(r.allowRealms, host)
		return nil
	})
}

// Remote is what the flags say to package remote. events hears of progress; nil
// = nobody.
func (r *Registry) Remote(events bundle.EventFunc) remote.Options {
	return remote.Options{PlainHTTP: r.plainHTTP, CAFile: r.CAFile, AllowRealms: r.allowRealms, Events: events}
}
