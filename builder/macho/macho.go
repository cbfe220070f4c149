// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

// Package macho owns what the builder asks of macOS binaries: which of the files
// that stream into an environment are Mach-O, and whether a Mac with the target's
// floor would load them.
//
// Start with [Checker], through which the bytes of one file pass once, or [Watch],
// which puts one behind a reader; then [Target.Check] for the rules and [Summary]
// for the table over all files.
//
// # How it works
//
// A Checker tells a file by its first bytes. One that is not Mach-O costs nothing
// from there on. Of the others it gathers the fat table, the headers, the load
// commands and the first bytes of the signature, one slice after the other, and
// lets the rest pass. What comes out is a [File]: facts without a judgement, small
// enough to be kept as JSON beside a cached layer. Rules are applied to facts,
// so that a floor can change without reading the file again.
//
// # Promises
//
// Thin and fat files (both fat headers, 32 and 64 bits, both byte orders) give the
// same facts however their bytes are cut into writes. At most [MaxCommands] bytes
// are held at once, and never more than the file has. A structure that a loader
// would refuse is a fact too ([File].Malformed), found without a panic or a
// loop. Static archives are no Mach-O file, nor is a Java class, which begins with
// the same four bytes as a fat file. Page hashes are not computed: that the bytes
// are those that were signed follows from their sha256 in RECORD.
package macho

import (
	"debug/macho"
	"fmt"
	"slices"
)

// Caps on what is read. The load commands of real binaries have some kilobytes.
const (
	MaxCommands = 1 << 20 // bytes of the load commands of one slice
	MaxSlices   = 16      // of a fat file
	MaxForeign  = 64      // references out of the system in one slice, which are kept
	maxPath     = 1024    // bytes of such a path: PATH_MAX of macOS
)

// Kinds of a slice that the rules know by name, see [Slice].Kind.
const (
	KindObject     = "object"
	KindExecutable = "executable"
	KindCore       = "core"
	KindDylib      = "dylib"
	KindDylinker   = "dylinker"
	KindBundle     = "bundle"
	KindStub       = "dylib stub"
	KindDSYM       = "dsym"
	KindArchive    = "archive" // a static archive, inside of a fat file
)

// PlatformMacOS is the [Slice].Platform of what runs on a Mac as it is.
const PlatformMacOS = "macOS"

// File is what is known of one Mach-O file. The zero File is one that is not
// Mach-O.
type File struct {
	Fat       bool    `json:"fat,omitempty"`
	Slices    []Slice `json:"slices,omitempty"`    // in the order of their offsets
	Malformed string  `json:"malformed,omitempty"` // why no loader takes it; Slices may lack some then
}

// IsMachO reports whether the file is Mach-O, sound or not.
func (f File) IsMachO() bool { return len(f.Slices) > 0 || f.Malformed != "" }

// Kind is that of the first slice, or "".
func (f File) Kind() string {
	if len(f.Slices) == 0 {
		return ""
	}
	return f.Slices[0].Kind
}

// Loaded reports whether a loader is meant to map the file, as opposed to debug
// companions, objects and archives.
func (f File) Loaded() bool { return slices.ContainsFunc(f.Slices, Slice.Loaded) }

// Slice is a Mach-O file for one CPU.
type Slice struct {
	Kind      string      `json:"kind"`
	CPU       string      `json:"cpu,omitempty"`      // arm64, arm64e, x86_64, …
	Platform  string      `json:"platform,omitempty"` // macOS, iOS, …; "" = it does not say
	MinOS     Version     `json:"minOs,omitempty"`
	Signature Signature   `json:"signature,omitempty"`
	Foreign   []Reference `json:"foreign,omitempty"`
}

// Loaded reports whether the rules for binaries hold for the slice.
func (s Slice) Loaded() bool {
	switch s.Kind {
	case KindObject, KindCore, KindStub, KindDSYM, KindArchive:
		return false
	}
	return true
}

// Signature says what was found where a code signature should be.
type Signature string

// The states of a signature. Only one with [SignaturePresent] runs on arm64.
const (
	SignatureNone    Signature = ""        // no LC_CODE_SIGNATURE
	SignaturePresent Signature = "present" // its range lies in the slice and holds a signature
	SignatureEmpty   Signature = "empty"   // its range has no bytes
	SignatureOutside Signature = "outside" // its range leaves the slice or lies on the load commands
	SignatureDamaged Signature = "damaged" // what lies there is no signature
)

// Kinds of a [Reference] that do not name a library to load.
const (
	KindID    = "id"    // what a library calls itself: read when something is linked against it
	KindRpath = "rpath" // a directory in which libraries are looked for
)

// Reference is an absolute path outside of the system in a binary. On another
// machine nothing is there, or something else.
type Reference struct {
	Kind string `json:"kind"` // [KindID], [KindRpath], load, weak, reexport, lazy, upward
	Path string `json:"path"`
}

// Types of files and load commands that debug/macho has no name for.
const (
	typeCore     macho.Type = 4
	typeDylinker macho.Type = 7
	typeStub     macho.Type = 9
	typeDSYM     macho.Type = 10

	cmdIDDylib       macho.LoadCmd = 0xd
	cmdWeakDylib     macho.LoadCmd = 0x80000018
	cmdCodeSignature macho.LoadCmd = 0x1d
	cmdReexportDylib macho.LoadCmd = 0x8000001f
	cmdLazyDylib     macho.LoadCmd = 0x20
	cmdUpwardDylib   macho.LoadCmd = 0x80000023
	cmdMinMacOS      macho.LoadCmd = 0x24
	cmdMinIOS        macho.LoadCmd = 0x25
	cmdMinTVOS       macho.LoadCmd = 0x2f
	cmdMinWatchOS    macho.LoadCmd = 0x30
	cmdBuildVersion  macho.LoadCmd = 0x32
	cpuArm6432       macho.Cpu     = 0x0200000c
	subtypeArm64e                  = 2
	subtypeMask                    = 0x00ffffff // without the capability bits
)

// kindOf names a file type.
func kindOf(t macho.Type) string {
	switch t {
	case macho.TypeObj:
		return KindObject
	case macho.TypeExec:
		return KindExecutable
	case macho.TypeDylib:
		return KindDylib
	case macho.TypeBundle:
		return KindBundle
	case typeCore:
		return KindCore
	case typeDylinker:
		return KindDylinker
	case typeStub:
		return KindStub
	case typeDSYM:
		return KindDSYM
	}
	return fmt.Sprintf("type %d", uint32(t))
}

// cpuName names a CPU as Apple's tools do. arm64e is another ABI: macOS does not
// load it into a process of arm64.
func cpuName(cpu macho.Cpu, subtype uint32) string {
	switch cpu {
	case macho.CpuArm64:
		if subtype&subtypeMask == subtypeArm64e {
			return "arm64e"
		}
		return "arm64"
	case macho.CpuAmd64:
		return "x86_64"
	case macho.Cpu386:
		return "i386"
	case macho.CpuArm:
		return "arm"
	case macho.CpuPpc:
		return "ppc"
	case macho.CpuPpc64:
		return "ppc64"
	case cpuArm6432:
		return "arm64_32"
	}
	return fmt.Sprintf("cpu %#x", uint32(cpu))
}

// platformName names the platform of LC_BUILD_VERSION.
func platformName(n uint32) string {
	names := []string{
		1: PlatformMacOS, 2: "iOS", 3: "tvOS", 4: "watchOS", 5: "bridgeOS", 6: "Mac Catalyst",
		7: "iOS simulator", 8: "tvOS simulator", 9: "watchOS simulator", 10: "DriverKit", 11: "visionOS", 12: "visionOS simulator",
	}
	if n == 0 || n >= uint32(len(names)) {
		return fmt.Sprintf("platform %d", n)
	}
	return names[n]
}
