// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package builder

import (
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"fmt"

	"github.com/metalpack/metalpack/bundle"
)

// checkMachine reports whether an executable that runs on got, as machine names
// it, is made for a platform. The error wraps [bundle.ErrInvalid].
func checkMachine(got string, p bundle.Platform) error {
	if got != p.String() {
		return fmt.Errorf("an executable for %s, want %s: %w", got, p, bundle.ErrInvalid)
	}
	return nil
}

// machine names what an executable runs on as os/arch. ELF does not say its
// operating system in a way that is used: it counts as linux.
func machine(head []byte) string {
	le := binary.LittleEndian
	switch {
	case len(head) >= 20 && string(head[:4]) == elf.ELFMAG && head[elf.EI_CLASS] == byte(elf.ELFCLASS64) && head[elf.EI_DATA] == byte(elf.ELFDATA2LSB):
		switch m := elf.Machine(le.Uint16(head[18:])); m {
		case elf.EM_X86_64:
			return "linux/amd64"
		case elf.EM_AARCH64:
			return "linux/arm64"
		default:
			return "linux/" + m.String()
		}
	case len(head) >= 8 && le.Uint32(head) == macho.Magic64:
		switch c := macho.Cpu(le.Uint32(head[4:])); c {
		case macho.CpuArm64:
			return "darwin/arm64"
		case macho.CpuAmd64:
			return "darwin/amd64"
		default:
			return "darwin/" + c.String()
		}
	}
	return "no known machine"
}
