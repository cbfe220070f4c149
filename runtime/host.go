// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	goruntime "runtime"
	"strings"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/child"
)

// hostTimeout bounds the question for the system's version.
const hostTimeout = 10 * time.Second

// HostPlatform says what this machine is. A version of macOS or glibc that the
// system does not tell stays empty, which no floor refuses.
func HostPlatform(ctx context.Context) bundle.Platform {
	p := bundle.Platform{OS: goruntime.GOOS, Arch: goruntime.GOARCH}
	switch p.OS {
	case "darwin":
		p.MacOS = ask(ctx, "/usr/bin/sw_vers", "-productVersion")
	case "linux":
		name, version, _ := strings.Cut(ask(ctx, "/usr/bin/getconf", "GNU_LIBC_VERSION"), " ")
		if name == "glibc" {
			p.Glibc = version
		}
	}
	return p
}

// ask returns what a program prints, "" if it fails.
func ask(ctx context.Context, program string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, hostTimeout)
	defer cancel()
	res, err := child.Run(ctx, child.Spec{Path: program, Args: args, Env: []string{"PATH=/usr/bin:/bin", "LC_ALL=C"}, Dir: "/"})
	if err != nil {
		return ""
	}
	return strings.TrimSpace(res.Stdout)
}
