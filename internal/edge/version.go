// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package edge

import (
	"fmt"
	goruntime "runtime"
	"runtime/debug"
)

// BuildInfo says which build this program is.
type BuildInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// String is the line that the version verb prints.
func (b BuildInfo) String() string {
	s := b.Version
	if b.Revision != "" {
		s += " (" + b.Revision + ")"
	}
	return fmt.Sprintf("%s %s %s\n", s, b.Go, b.Platform)
}

// Version reads what the Go toolchain recorded in the binary.
func Version() BuildInfo {
	b := BuildInfo{Version: "devel", Go: goruntime.Version(), Platform: goruntime.GOOS + "/" + goruntime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" && info.Main.Version != "(devel)" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			b.Revision = s.Value
		}
	}
	return b
}
