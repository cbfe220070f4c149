// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"bytes"
	"debug/macho"
	"encoding/binary"
	"slices"
)

// image is a Mach-O file that a test makes up. The zero image is a good
// arm64 dylib without commands.
type image struct {
	order    binary.ByteOrder // nil = little
	narrow   bool             // 32 bits
	cpu      macho.Cpu        // 0 = arm64
	subtype  uint32
	kind     macho.Type // 0 = dylib
	commands [][]byte
	count    *uint32 // of load commands; nil = as many as there are
	size     *uint32 // of load commands; nil = as many bytes as there are
	sign     bool    // adds a good signature at the end
	body     int     // bytes after the commands
}

var le = binary.LittleEndian

// command makes a load command in little-endian order out of numbers and an
// optional path, which comes last and is padded to 8.
func command(cmd macho.LoadCmd, path string, fields ...uint32) []byte {
	size := 8 + 4*len(fields)
	if path != "" {
		size = (size + len(path) + 8) &^ 7
	}
	data := le.AppendUint32(le.AppendUint32(nil, uint32(cmd)), uint32(size))
	for _, f := range fields {
		data = le.AppendUint32(data, f)
	}
	data = append(data, path...)
	return append(data, make([]byte, size-len(data))...)
}

func buildVersion(platform uint32, v Version) []byte {
	return command(cmdBuildVersion, "", platform, uint32(v), uint32(v), 0)
}

func minMacOS(v Version) []byte { return command(cmdMinMacOS, "", uint32(v), uint32(v)) }

func signatureAt(offset, size uint32) []byte { return command(cmdCodeSignature, "", offset, size) }

func load(path string) []byte  { return command(macho.LoadCmdDylib, path, 24, 0, 0, 0) }
func rpath(path string) []byte { return command(macho.LoadCmdRpath, path, 12) }

// superBlob is a signature of n bytes.
func superBlob(n int) []byte {
	data := binary.BigEndian.AppendUint32(nil, magicSuperBlob)
	data = binary.BigEndian.AppendUint32(data, uint32(n))
	return append(data, make([]byte, n-len(data))...)
}

// bytes lays the image out.
func (m image) bytes() []byte {
	order, header, magic := binary.AppendByteOrder(le), lenHeader64, macho.Magic64
	if m.order == binary.BigEndian {
		order = binary.BigEndian
	}
	if m.narrow {
		header, magic = lenHeader32, macho.Magic32
	}
	const signature = 64
	commands, count := slices.Concat(m.commands...), uint32(len(m.commands))
	if m.sign {
		at := header + len(commands) + 16 + m.body
		commands = append(commands, signatureAt(uint32(at), signature)...)
		count++
	}
	size := uint32(len(commands))
	if m.count != nil {
		count = *m.count
	}
	if m.size != nil {
		size = *m.size
	}
	cpu, kind := m.cpu, m.kind
	if cpu == 0 {
		cpu = macho.CpuArm64
	}
	if kind == 0 {
		kind = macho.TypeDylib
	}
	var data []byte
	for _, f := range []uint32{magic, uint32(cpu), m.subtype, uint32(kind), count, size, 0, 0}[:header/4] {
		data = order.AppendUint32(data, f)
	}
	data = append(append(data, commands...), bytes.Repeat([]byte("code"), m.body/4)...)
	if m.sign {
		data = append(data, superBlob(signature)...)
	}
	return data
}

// arch is a row of a fat table.
type arch struct {
	cpu          macho.Cpu
	offset, size uint64
}

// fatTable makes a fat file's beginning.
func fatTable(wide bool, archs ...arch) []byte {
	be := binary.BigEndian
	magic := macho.MagicFat
	if wide {
		magic = magicFat64
	}
	data := be.AppendUint32(be.AppendUint32(nil, magic), uint32(len(archs)))
	for _, a := range archs {
		data = be.AppendUint32(be.AppendUint32(data, uint32(a.cpu)), 0)
		if wide {
			data = be.AppendUint32(be.AppendUint32(be.AppendUint64(be.AppendUint64(data, a.offset), a.size), 0), 0)
		} else {
			data = be.AppendUint32(be.AppendUint32(be.AppendUint32(data, uint32(a.offset)), uint32(a.size)), 0)
		}
	}
	return data
}

// fat joins images, each at the next multiple of 256.
func fat(wide bool, cpus []macho.Cpu, images ...[]byte) []byte {
	archs, at := make([]arch, 0, len(images)), uint64(256)
	for i, m := range images {
		archs = append(archs, arch{cpus[i], at, uint64(len(m))})
		at += (uint64(len(m)) + 255) &^ 255
	}
	data := fatTable(wide, archs...)
	for i, m := range images {
		data = append(data, make([]byte, int(archs[i].offset)-len(data))...)
		data = append(data, m...)
	}
	return data
}
