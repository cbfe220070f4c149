// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"errors"
	"fmt"
	"path"
	"strings"
)

// What a signature begins with, and the bytes of its magic and length.
const (
	magicSuperBlob = 0xfade0cc0
	magicDirectory = 0xfade0c02
	lenSignature   = 8
)

// linkedit is where a load command says that data lies, relative to the slice.
type linkedit struct {
	there        bool
	offset, size uint32
}

// commandReader reads the load commands of one slice into it.
type commandReader struct {
	slice *Slice
	order binary.ByteOrder
	sig   linkedit
	rank  int // of the command that gave platform and minimum
}

// readCommands reads count load commands, which lie in data.
func readCommands(s *Slice, order binary.ByteOrder, data []byte, count uint32) (linkedit, error) {
	r := &commandReader{slice: s, order: order}
	for i := range count {
		if len(data) < 8 {
			return r.sig, fmt.Errorf("load command %d of %d lies outside of the load commands", i, count)
		}
		size := order.Uint32(data[4:])
		if size < 8 || size%4 != 0 || uint64(size) > uint64(len(data)) {
			return r.sig, fmt.Errorf("load command %d has a size of %d bytes, %d are left", i, size, len(data))
		}
		if err := r.read(macho.LoadCmd(order.Uint32(data)), data[:size]); err != nil {
			return r.sig, fmt.Errorf("load command %d: %w", i, err)
		}
		data = data[size:]
	}
	return r.sig, nil
}

var errShort = errors.New("too short for what it is")

// read takes what matters from one command, whole in data.
func (r *commandReader) read(cmd macho.LoadCmd, data []byte) error {
	if kind := referenceKind(cmd); kind != "" {
		return r.reference(kind, data)
	}
	var platform string
	switch cmd {
	case cmdCodeSignature:
		if len(data) < 16 {
			return errShort
		}
		if r.sig.there {
			return errors.New("a second signature")
		}
		r.sig = linkedit{there: true, offset: r.order.Uint32(data[8:]), size: r.order.Uint32(data[12:])}
		return nil
	case cmdBuildVersion:
		if len(data) < 24 {
			return errShort
		}
		r.version(2, platformName(r.order.Uint32(data[8:])), r.order.Uint32(data[12:]))
		return nil
	case cmdMinMacOS:
		platform = PlatformMacOS
	case cmdMinIOS:
		platform = "iOS"
	case cmdMinTVOS:
		platform = "tvOS"
	case cmdMinWatchOS:
		platform = "watchOS"
	default:
		return nil
	}
	if len(data) < 16 {
		return errShort
	}
	r.version(1, platform, r.order.Uint32(data[8:]))
	return nil
}

// version notes platform and minimum. A library for several platforms says so
// by several commands: macOS counts before others, and of two minimums the
// newer.
func (r *commandReader) version(rank int, platform string, minimum uint32) {
	if rank > 1 && platform == PlatformMacOS {
		rank++
	}
	if v := Version(minimum); rank > r.rank || rank == r.rank && v > r.slice.MinOS {
		r.rank, r.slice.Platform, r.slice.MinOS = rank, platform, v
	}
}

// referenceKind names the commands that hold a path to a library or to a
// directory of them.
func referenceKind(cmd macho.LoadCmd) string {
	switch cmd {
	case cmdIDDylib:
		return KindID
	case macho.LoadCmdDylib:
		return "load"
	case cmdWeakDylib:
		return "weak"
	case cmdReexportDylib:
		return "reexport"
	case cmdLazyDylib:
		return "lazy"
	case cmdUpwardDylib:
		return "upward"
	case macho.LoadCmdRpath:
		return KindRpath
	default:
		return ""
	}
}

// reference notes a path that means something on the machine it was built on
// alone.
func (r *commandReader) reference(kind string, data []byte) error {
	if len(data) < 12 {
		return errShort
	}
	at := r.order.Uint32(data[8:])
	if at < 12 || uint64(at) >= uint64(len(data)) {
		return fmt.Errorf("its path lies at byte %d of %d", at, len(data))
	}
	p, _, ended := bytes.Cut(data[at:], []byte{0})
	if !ended {
		return errors.New("its path has no end")
	}
	name := strings.ToValidUTF8(string(p), "\uFFFD")
	switch {
	case !foreign(name):
		return nil
	case len(p) >= maxPath:
		return fmt.Errorf("its path has %d bytes, more than macOS takes", len(p))
	case len(r.slice.Foreign) == MaxForeign:
		return fmt.Errorf("more than %d paths that lead out of the system", MaxForeign)
	}
	r.slice.Foreign = append(r.slice.Foreign, Reference{Kind: kind, Path: name})
	return nil
}

// foreign reports whether a path is absolute and not of the system.
func foreign(p string) bool {
	if !path.IsAbs(p) {
		return false
	}
	clean := path.Clean(p) + "/"
	return !strings.HasPrefix(clean, "/usr/lib/") && !strings.HasPrefix(clean, "/System/")
}
