// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package wheel

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"

	"github.com/metalpack/metalpack/builder/wheel/wheeltest"
)

// set overwrites bytes at an offset in the nth record of a kind, counted from
// 0; a negative n counts from the end.
func set(data []byte, kind uint32, n, offset int, value ...byte) []byte {
	mark := binary.LittleEndian.AppendUint32(nil, kind)
	var at []int
	for i := 0; ; i++ {
		k := bytes.Index(data[i:], mark)
		if k < 0 {
			break
		}
		i += k
		at = append(at, i)
	}
	if n < 0 {
		n += len(at)
	}
	out := bytes.Clone(data)
	copy(out[at[n]+offset:], value)
	return out
}

// end64 is the archive with ZIP64 end records that say the same as the other
// one, changed.
func end64(data []byte, change func(record, locator []byte)) []byte {
	at := len(data) - lenEnd
	end := data[at:]
	record, locator := make([]byte, lenEnd64), make([]byte, lenLocator64)
	le.PutUint32(record, sigEnd64)
	le.PutUint64(record[4:], lenEnd64-12)
	le.PutUint64(record[24:], uint64(le.Uint16(end[8:])))
	le.PutUint64(record[32:], uint64(le.Uint16(end[10:])))
	le.PutUint64(record[40:], uint64(le.Uint32(end[12:])))
	le.PutUint64(record[48:], uint64(le.Uint32(end[16:])))
	le.PutUint32(locator, sigLocator64)
	le.PutUint64(locator[8:], uint64(at))
	le.PutUint32(locator[16:], 1)
	change(record, locator)
	return bytes.Join([][]byte{data[:at], record, locator, end}, nil)
}

// spliced puts bytes into the archive and moves every offset that lies behind
// them along.
func spliced(data []byte, at int, more string) []byte {
	out := bytes.Join([][]byte{data[:at], []byte(more), data[at:]}, nil)
	end := len(out) - lenEnd
	dir := int(le.Uint32(out[end+16:])) + len(more)
	le.PutUint32(out[end+16:], uint32(dir))
	for i := dir; i < end; {
		if old := int(le.Uint32(out[i+42:])); old >= at {
			le.PutUint32(out[i+42:], uint32(old+len(more)))
		}
		i += lenCentral + int(le.Uint16(out[i+28:])) + int(le.Uint16(out[i+30:]))
	}
	return out
}

// extraField gives the first member an extra field in its central header.
func extraField(data []byte, id uint16, content string) []byte {
	end := len(data) - lenEnd
	dir := int(le.Uint32(data[end+16:]))
	name := int(le.Uint16(data[dir+28:]))
	field := append(le.AppendUint16(le.AppendUint16(nil, id), uint16(len(content))), content...)
	at := dir + lenCentral + name
	out := bytes.Join([][]byte{data[:at], field, data[at:]}, nil)
	le.PutUint16(out[dir+30:], le.Uint16(out[dir+30:])+uint16(len(field)))
	end += len(field)
	le.PutUint32(out[end+12:], le.Uint32(out[end+12:])+uint32(len(field)))
	return out
}

// forgedArchives are archives whose structure is wrong. Python's zipfile reads
// the central directory and of a local header only the name, and it takes
// whatever surrounds the archive for a program that unpacks itself: what of
// these pip installs without a word is in pipInstalls.
func forgedArchives() map[string][]byte {
	two := func(o wheeltest.Options) []byte {
		return build(map[string]string{"demo.py": "x = 1\n", "demz.py": "x = 1\n"}, o)
	}
	second := bytes.Index(good()[1:], []byte("PK\x03\x04")) + 1 // local header
	bomb := map[string]string{}
	for i := range 8 { // each small enough by itself
		bomb[fmt.Sprintf("zeros%d.bin", i)] = strings.Repeat("\x00", 1<<20)
	}
	mode := func(name string, m fs.FileMode) []byte { return extra(wheeltest.Member{Name: name, Mode: m}) }
	return map[string][]byte{
		"Z1 empty name":                extra(wheeltest.Member{Name: ""}),
		"Z1 dot":                       extra(wheeltest.Member{Name: "./x.py"}),
		"Z1 double slash":              extra(wheeltest.Member{Name: "a//x.py"}),
		"Z1 NUL":                       extra(wheeltest.Member{Name: "demo.py\x00.txt"}),
		"Z1 not UTF-8":                 extra(wheeltest.Member{Name: "a\xff"}),
		"Z1 not marked as UTF-8":       set(extra(wheeltest.Member{Name: "é"}), sigCentral, -1, 8, 8, 0),
		"Z1 device name":               extra(wheeltest.Member{Name: "con.py"}),
		"Z1 long name":                 extra(wheeltest.Member{Name: strings.Repeat("a", 256)}),
		"Z1 directory is a symlink":    mode("d/", fs.ModeSymlink|0o777),
		"Z1 fifo":                      mode("f", fs.ModeNamedPipe|0o644),
		"Z1 socket":                    mode("s", fs.ModeSocket|0o644),
		"Z2 directory twice":           extra(wheeltest.Member{Name: "d/"}, wheeltest.Member{Name: "d/"}),
		"Z2 one local header":          set(two(wheeltest.Options{}), sigCentral, 3, 42, 0, 0, 0, 0),
		"Z4 two end records":           append(good(), good()[len(good())-lenEnd:]...),
		"Z4 bytes between members":     spliced(good(), second, "hidden"),
		"Z4 bytes before members":      spliced(good(), 0, "hidden"),
		"Z4 a comment":                 append(set(good(), sigEnd, -1, 20, 2, 0), "hi"...),
		"Z4 fewer members":             set(good(), sigEnd, -1, 8, 2, 0, 2, 0),
		"Z4 more members":              set(good(), sigEnd, -1, 8, 9, 0, 9, 0),
		"Z4 another disk":              set(good(), sigEnd, -1, 4, 1, 0),
		"Z4 cut":                       good()[:len(good())-1],
		"Z4 zip64 locator elsewhere":   end64(good(), func(_, locator []byte) { locator[8]++ }),
		"Z4 zip64 directory elsewhere": end64(good(), func(record, _ []byte) { record[48]++ }),
		"Z4 zip64 fewer members":       end64(good(), func(record, _ []byte) { record[24]--; record[32]-- }),
		"Z4 zip64 long record":         end64(good(), func(record, _ []byte) { record[4]++ }),
		"Z4 zip64 endless":             end64(good(), func(record, _ []byte) { record[47] = 0x7f }),
		"Z4 zip64 field twice":         extraField(extraField(good(), extraZip64, ""), extraZip64, ""),
		"Z4 zip64 field cut":           extraField(set(good(), sigCentral, 0, 24, 255, 255, 255, 255), extraZip64, "1234"),
		"Z4 extra field cut":           set(extraField(good(), 0x9999, "1234"), sigCentral, 0, lenCentral+len("demo-1.0.dist-info/METADATA")+2, 99),
		"Z4 second name":               extraField(good(), extraUnicodePath, "\x01\x00\x00\x00\x00evil.py"),
		"Z4 AES":                       extraField(good(), extraAES, "1234567"),
		"Z4 encrypted":                 set(good(), sigCentral, 0, 8, 9, 0),
		"Z4 bzip2":                     set(good(), sigCentral, 0, 10, 12, 0),
		"Z4 member comment":            set(good(), sigCentral, 0, 32, 1, 0),
		"Z4 local flags":               set(good(), sigLocal, 0, 6, 0, 0),
		"Z4 local method":              set(good(), sigLocal, 0, 8, 0, 0),
		"Z4 local time":                set(good(), sigLocal, 0, 10, 1),
		"Z4 local CRC-32":              set(good(), sigLocal, 0, 14, 1),
		"Z4 local size":                set(good(), sigLocal, 0, 22, 1),
		"Z4 local header is none":      set(good(), sigLocal, 0, 0, 'X'),
		"Z4 descriptor":                set(good(), sigDescriptor, 0, 8, 0xff),
		"Z4 descriptor is none":        set(good(), sigDescriptor, 0, 0, 'X'),
		"Z4 stored of two sizes":       set(two(wheeltest.Options{Store: true}), sigCentral, 0, 24, 1),
		"Z4 directory with content":    set(extra(wheeltest.Member{Name: "dx", Content: "hidden"}), sigCentral, -1, lenCentral+1, '/'),
		"bomb of small files":          build(bomb, wheeltest.Options{}),
		"bomb of modest files":         modest(),
	}
}

// modest is a wheel of 1 MB whose members say that they inflate 320 times, to
// 20 MiB each, which is not too much for any of them, and is for all together.
func modest() []byte {
	files := map[string]string{}
	noise := rand.NewChaCha8([32]byte{})
	for i := range 16 {
		b := make([]byte, 64<<10)
		_, _ = noise.Read(b) // which cannot fail
		files[fmt.Sprintf("%02d.bin", i)] = string(b)
	}
	data := build(files, wheeltest.Options{})
	for i := range 16 {
		at := bytes.LastIndex(data, fmt.Appendf(nil, "%02d.bin", i)) // in the central directory
		le.PutUint32(data[at-lenCentral+24:], 20<<20)
	}
	return data
}
