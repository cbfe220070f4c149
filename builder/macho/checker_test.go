// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package macho

import (
	"debug/macho"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	v11 Version = 11 << 16
	v14 Version = 14 << 16
)

// facts reads data in writes of chunk bytes.
func facts(t *testing.T, data []byte, chunk int) File {
	t.Helper()
	var c Checker
	for p := range slices.Chunk(data, chunk) {
		if n, err := c.Write(p); n != len(p) || err != nil {
			t.Fatalf("took %d of %d bytes: %v", n, len(p), err)
		}
	}
	return c.File()
}

// sound are files with the facts that are to be found in them.
func sound() map[string]struct {
	data []byte
	want File
} {
	good := image{commands: [][]byte{buildVersion(1, v11)}, sign: true, body: 400}
	intel := image{cpu: macho.CpuAmd64, commands: [][]byte{minMacOS(v14)}}
	arm := Slice{Kind: KindDylib, CPU: "arm64", Platform: PlatformMacOS, MinOS: v11, Signature: SignaturePresent}
	amd := Slice{Kind: KindDylib, CPU: "x86_64", Platform: PlatformMacOS, MinOS: v14}
	both := []macho.Cpu{macho.CpuAmd64, macho.CpuArm64}
	thin := func(change func(*Slice)) File {
		s := Slice{Kind: KindDylib, CPU: "arm64"}
		change(&s)
		return File{Slices: []Slice{s}}
	}
	return map[string]struct {
		data []byte
		want File
	}{
		"signed":  {good.bytes(), File{Slices: []Slice{arm}}},
		"fat":     {fat(false, both, intel.bytes(), good.bytes()), File{Fat: true, Slices: []Slice{amd, arm}}},
		"fat 64":  {fat(true, both, intel.bytes(), good.bytes()), File{Fat: true, Slices: []Slice{amd, arm}}},
		"no more": {image{}.bytes(), thin(func(*Slice) {})},
		"dsym":    {image{kind: typeDSYM}.bytes(), thin(func(s *Slice) { s.Kind = KindDSYM })},
		"kernel":  {image{kind: 11}.bytes(), thin(func(s *Slice) { s.Kind = "type 11" })},
		"arm64e":  {image{subtype: 0x80000002}.bytes(), thin(func(s *Slice) { s.CPU = "arm64e" })},
		"32 bits": {image{narrow: true, cpu: macho.Cpu386}.bytes(), thin(func(s *Slice) { s.CPU = "i386" })},
		"ppc":     {image{order: binary.BigEndian, narrow: true, cpu: macho.CpuPpc}.bytes(), thin(func(s *Slice) { s.CPU = "ppc" })},
		"big 64":  {image{order: binary.BigEndian, cpu: 99}.bytes(), thin(func(s *Slice) { s.CPU = "cpu 0x63" })},
		"simulator": {image{commands: [][]byte{buildVersion(7, v14)}}.bytes(), thin(func(s *Slice) {
			s.Platform, s.MinOS = "iOS simulator", v14
		})},
		"for two systems": {image{commands: [][]byte{buildVersion(6, v14), buildVersion(1, v11), buildVersion(6, v14), minMacOS(v14)}}.bytes(), thin(func(s *Slice) {
			s.Platform, s.MinOS = PlatformMacOS, v11
		})},
		"two minimums": {image{commands: [][]byte{buildVersion(1, v14), buildVersion(1, v11)}}.bytes(), thin(func(s *Slice) {
			s.Platform, s.MinOS = PlatformMacOS, v14
		})},
		"foreign": {image{commands: [][]byte{load("/usr/lib/libSystem.B.dylib"), load("/usr/lib/../local/x.dylib"), load("@rpath/y.dylib"), rpath("/usr/lib"), rpath("/opt/homebrew/lib"), rpath("/Systems\xff")}}.bytes(), thin(func(s *Slice) {
			s.Foreign = []Reference{{"load", "/usr/lib/../local/x.dylib"}, {KindRpath, "/opt/homebrew/lib"}, {KindRpath, "/Systems\uFFFD"}}
		})},
		"fat archive": {fat(false, both, []byte(archiveMagic+strings.Repeat(" ", 60)), good.bytes()), File{Fat: true, Slices: []Slice{{Kind: KindArchive, CPU: "x86_64"}, arm}}},
	}
}

func TestFacts(t *testing.T) {
	t.Parallel()
	for name, tt := range sound() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for chunk := 1; chunk <= len(tt.data); chunk++ {
				if d := cmp.Diff(tt.want, facts(t, tt.data, chunk)); d != "" {
					t.Fatalf("writes of %d bytes:\n%s", chunk, d)
				}
			}
			data, err := json.Marshal(tt.want)
			if err != nil {
				t.Fatal(err)
			}
			var back File
			if err := json.Unmarshal(data, &back); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, back); d != "" {
				t.Error(d)
			}
		})
	}
}

// TestOtherFiles: what is not Mach-O leaves no facts and no buffer.
func TestOtherFiles(t *testing.T) {
	t.Parallel()
	class := append([]byte("\xca\xfe\xba\xbe\x00\x00\x00\x34"), make([]byte, 100)...) // Java 8
	for name, data := range map[string][]byte{
		"empty": {}, "three bytes": []byte("\xcf\xfa\xed"), "text": []byte("import os\n"), "elf": []byte("\x7fELF\x02\x01\x01"),
		"class": class, "class, cut": class[:6], "archive": []byte(archiveMagic), "fat, reversed": []byte("\xbe\xba\xfe\xca\x02\x00\x00\x00"),
	} {
		var c Checker
		if _, err := c.Write(data); err != nil {
			t.Fatal(err)
		}
		if f := c.File(); f.IsMachO() || f.Loaded() || f.Kind() != "" {
			t.Errorf("%s: %+v", name, f)
		}
		if len(data) > lenFatHeader && c.buf != nil {
			t.Errorf("%s: %d bytes are held", name, len(c.buf))
		}
	}
}

func TestSignature(t *testing.T) {
	t.Parallel()
	blob := func(data []byte) []byte { // behind the load commands and as long as it is
		return append(image{commands: [][]byte{signatureAt(lenHeader64+16, uint32(len(data)))}}.bytes(), data...)
	}
	at := func(offset, size uint32) []byte {
		return append(image{commands: [][]byte{signatureAt(offset, size)}}.bytes(), superBlob(64)...)
	}
	inFat := func(thin []byte) []byte {
		return append(fat(false, []macho.Cpu{macho.CpuArm64}, thin), superBlob(4096)...)
	}
	long := superBlob(64)
	binary.BigEndian.PutUint32(long[4:], 65)
	for name, tt := range map[string]struct {
		data []byte
		want Signature
	}{
		"none":                   {image{}.bytes(), SignatureNone},
		"good":                   {blob(superBlob(64)), SignaturePresent},
		"padded":                 {blob(append(superBlob(64), 0, 0, 0, 0)), SignaturePresent},
		"empty":                  {at(lenHeader64+16, 0), SignatureEmpty},
		"tiny":                   {blob([]byte("\xfa\xde\x0c\xc0")), SignatureDamaged},
		"zeros":                  {blob(make([]byte, 64)), SignatureDamaged},
		"longer than its range":  {blob(long), SignatureDamaged},
		"on the header":          {at(0, 64), SignatureOutside},
		"on the commands":        {at(lenHeader64+15, 64), SignatureOutside},
		"one byte outside":       {at(lenHeader64+16, 65), SignatureOutside},
		"begins at the end":      {at(lenHeader64+16+64, 64), SignatureOutside},
		"at the end of all":      {at(math.MaxUint32, math.MaxUint32), SignatureOutside},
		"fat: good":              {inFat(at(lenHeader64+16, 64)), SignaturePresent},
		"fat: outside its slice": {inFat(at(lenHeader64+17, 64)), SignatureOutside},
		"fat: in what follows":   {inFat(at(4096, 64)), SignatureOutside},
	} {
		for _, chunk := range []int{1, 7, len(tt.data)} {
			f := facts(t, tt.data, chunk)
			if len(f.Slices) != 1 || f.Slices[0].Signature != tt.want || f.Malformed != "" {
				t.Errorf("%s: writes of %d bytes: got %+v, want %q", name, chunk, f, tt.want)
			}
		}
	}
}

// malformed are files that lie about themselves, with what is said of them.
func malformed() map[string]struct {
	data []byte
	want string
} {
	raw := func(commands ...[]byte) []byte { return image{commands: commands}.bytes() }
	sized := func(size uint32) []byte { return raw(le.AppendUint32(le.AppendUint32(nil, 1), size)) }
	arm, amd := macho.CpuArm64, macho.CpuAmd64
	many := make([]arch, MaxSlices+1)
	var rpaths [][]byte
	for i := range MaxForeign + 1 {
		rpaths = append(rpaths, rpath(fmt.Sprintf("/opt/%d", i)))
	}
	thin := image{}.bytes()
	return map[string]struct {
		data []byte
		want string
	}{
		"cut in the header":        {thin[:31], "ends inside a header"},
		"cut in the commands":      {raw(rpath("x"))[:40], "ends inside the load commands"},
		"2^32 commands":            {image{commands: [][]byte{rpath("x")}, count: new(uint32(math.MaxUint32))}.bytes(), "load command 1 of 4294967295 lies outside"},
		"4 GiB of commands":        {image{size: new(uint32(math.MaxUint32))}.bytes(), "4294967295 bytes of load commands, more than 1048576"},
		"command of 0 bytes":       {sized(0), "has a size of 0 bytes"},
		"command of 7 bytes":       {sized(7), "has a size of 7 bytes"},
		"command of 10 bytes":      {sized(10), "has a size of 10 bytes"},
		"command beyond the rest":  {sized(12), "has a size of 12 bytes, 8 are left"},
		"short build version":      {raw(command(cmdBuildVersion, "", 1, 2, 3)), "too short"},
		"short minimum":            {raw(command(cmdMinMacOS, "", 1)), "too short"},
		"short signature":          {raw(command(cmdCodeSignature, "", 1)), "too short"},
		"short path":               {raw(command(macho.LoadCmdRpath, "")), "too short"},
		"path on the command":      {raw(command(macho.LoadCmdRpath, "x", 4)), "its path lies at byte 4 of"},
		"path outside the command": {raw(command(macho.LoadCmdRpath, "x", 400)), "its path lies at byte 400 of"},
		"path without an end":      {raw(command(macho.LoadCmdRpath, "", 12, 0x61616161)), "its path has no end"},
		"endless foreign paths":    {raw(rpaths...), "more than 64 paths that lead out of the system"},
		"long foreign path":        {raw(rpath("/opt/" + strings.Repeat("x", maxPath))), "its path has 1029 bytes"},
		"two signatures":           {raw(signatureAt(0, 0), signatureAt(0, 0)), "a second signature"},
		"fat of 0":                 {fatTable(false), "a fat file of 0 slices"},
		"fat of 17":                {fatTable(false, many...), "a fat file of 17 slices, want 1 to 16"},
		"fat 64 of 2^32":           {[]byte("\xca\xfe\xba\xbf\xff\xff\xff\xff"), "a fat file of 4294967295 slices"},
		"cut in the fat table":     {fatTable(false, many[:2]...)[:30], "ends inside the fat table"},
		"slice on the fat table":   {fatTable(false, arch{arm, 8, 32}), "lies on the fat table"},
		"slices on each other":     {append(fatTable(false, arch{amd, 260, 100}, arch{arm, 256, 32}), make([]byte, 500)...), "x86_64 slice lies on the fat table or on another"},
		"slice of 2^64":            {fatTable(true, arch{arm, 100, math.MaxUint64}), "reaches beyond any file"},
		"slice at 2^63":            {fatTable(true, arch{arm, math.MaxInt64, 1}), "reaches beyond any file"},
		"empty slice":              {fatTable(false, arch{arm, 100, 0}), "the arm64 slice has 0 bytes"},
		"slice behind the file":    {append(fatTable(false, arch{arm, 28, 500}), thin...), "beyond the end of the file"},
		"slice that is missing":    {fatTable(false, arch{arm, 4096, 500}), "ends inside a header"},
		"slice is text":            {append(fatTable(false, arch{arm, 28, 32}), make([]byte, 32)...), "the arm64 slice is not Mach-O"},
		"fat in fat":               {append(fatTable(false, arch{arm, 28, 32}), append(fatTable(false, many[0]), 0, 0, 0, 0)...), "the arm64 slice is not Mach-O"},
		"another CPU than it says": {fat(false, []macho.Cpu{amd}, thin), "the fat table calls a slice x86_64, its header arm64"},
		"commands leave the slice": {append(fatTable(false, arch{arm, 28, 32}), raw(rpath("x"))...), "reach beyond the arm64 slice"},
		"cut in a signature":       {fat(false, []macho.Cpu{arm}, image{sign: true}.bytes())[:256+32+16+4], "ends inside a signature"},
	}
}

func TestMalformed(t *testing.T) {
	t.Parallel()
	for name, tt := range malformed() {
		whole := facts(t, tt.data, len(tt.data))
		if !strings.Contains(whole.Malformed, tt.want) || !whole.IsMachO() {
			t.Errorf("%s: got %q, want %q", name, whole.Malformed, tt.want)
		}
		for chunk := 1; chunk < min(len(tt.data), 64); chunk++ {
			if d := cmp.Diff(whole, facts(t, tt.data, chunk)); d != "" {
				t.Errorf("%s: writes of %d bytes:\n%s", name, chunk, d)
			}
		}
	}
}

// TestTruncated: a file that ends anywhere too early is not taken for a good one.
func TestTruncated(t *testing.T) {
	t.Parallel()
	thin := image{commands: [][]byte{buildVersion(1, v11)}, sign: true, body: 100}.bytes()
	for name, data := range map[string][]byte{
		"thin": thin, "fat": fat(false, []macho.Cpu{macho.CpuArm64}, thin), "fat 64": fat(true, []macho.Cpu{macho.CpuArm64}, thin),
	} {
		for n := range data {
			if f := facts(t, data[:n], max(n, 1)); len((Target{CPU: "arm64"}).Check(f)) == 0 && n >= lenFatHeader {
				t.Errorf("%s: %d of %d bytes pass: %+v", name, n, len(data), f)
			}
		}
	}
}

func FuzzChecker(f *testing.F) {
	for _, tt := range sound() {
		f.Add(tt.data, 3)
	}
	for _, tt := range malformed() {
		f.Add(tt.data, 5)
	}
	f.Fuzz(func(t *testing.T, data []byte, chunk int) {
		whole := facts(t, data, max(len(data), 1))
		if d := cmp.Diff(whole, facts(t, data, max(chunk, 1))); d != "" {
			t.Fatalf("writes of %d bytes:\n%s", chunk, d)
		}
		if len(whole.Slices) > MaxSlices {
			t.Fatalf("%d slices", len(whole.Slices))
		}
		encoded, err := json.Marshal(whole)
		if err != nil {
			t.Fatal(err)
		}
		var back File
		if err := json.Unmarshal(encoded, &back); err != nil {
			t.Fatalf("%s: %v", encoded, err)
		}
		if d := cmp.Diff(whole, back); d != "" {
			t.Fatal(d)
		}
		target := Target{CPU: "arm64", Floor: v14}
		_ = target.Check(whole)
	})
}

// BenchmarkOther is what a file that is not Mach-O pays: nothing that grows
// with its size.
func BenchmarkOther(b *testing.B) {
	data := make([]byte, 32<<10)
	var c Checker
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		_, _ = c.Write(data)
	}
}

// BenchmarkSmall is a file of 4 KiB that is not Mach-O, from its first byte.
func BenchmarkSmall(b *testing.B) {
	data := make([]byte, 4<<10)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		var c Checker
		_, _ = c.Write(data)
		_ = c.File()
	}
}
