// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/metalpack/metalpack/bundle"
)

// Version is a version of macOS as binaries hold it: 16 bits major, 8 minor, 8
// patch. Greater is newer; 0 is none.
type Version uint32

// ParseVersion reads major.minor or major.minor.patch; "" is 0. The error wraps
// [bundle.ErrInvalid].
func ParseVersion(s string) (Version, error) {
	if s == "" {
		return 0, nil
	}
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return 0, fmt.Errorf("version %q: want major.minor: %w", s, bundle.ErrInvalid)
	}
	var v Version
	for i, bits := range []int{16, 8, 8} {
		var n uint64
		if i < len(parts) {
			var err error
			if n, err = strconv.ParseUint(parts[i], 10, bits); err != nil {
				return 0, fmt.Errorf("version %q: %w: %w", s, err, bundle.ErrInvalid)
			}
		}
		v = v<<bits | Version(n)
	}
	return v, nil
}

// String returns "14.0" or "13.3.1", and "" for 0.
func (v Version) String() string {
	if v == 0 {
		return ""
	}
	s := fmt.Sprintf("%d.%d", v>>16, v>>8&0xff)
	if patch := v & 0xff; patch != 0 {
		s += fmt.Sprintf(".%d", patch)
	}
	return s
}

// MarshalText implements encoding.TextMarshaler.
func (v Version) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler. The error wraps
// [bundle.ErrInvalid].
func (v *Version) UnmarshalText(text []byte) (err error) {
	*v, err = ParseVersion(string(text))
	return err
}
