// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/bombtest"
)

// limited runs a program with 256 MiB of memory, where the system can limit
// that (macOS cannot): Go panics when it gets no more.
const limited = `ulimit -d 262144 2>/dev/null; exec "$@"`

// raceDetector reports whether the race detector is in the programs: it wants
// many times the memory.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// hostileWeights are model.safetensors with one fault each (HOSTILE F5, F8).
// Package model tests many more headers.
func hostileWeights() map[string][]byte {
	declares := func(n uint64, rest string) []byte { return append(binary.LittleEndian.AppendUint64(nil, n), rest...) }
	header := func(text string, data int) []byte {
		return append(declares(uint64(len(text)), text), make([]byte, data)...)
	}
	tensor := func(name, shape string, begin, end int) string {
		return fmt.Sprintf(`%q:{"dtype":"U8","shape":[%s],"data_offsets":[%d,%d]}`, name, shape, begin, end)
	}
	return map[string][]byte{
		"2^63 bytes":    declares(1<<63, "{}"),
		"0 bytes":       declares(0, "{}"),
		"100000001":     declares(100_000_001, "{}"),
		"past the end":  declares(1000, "{}"),
		"space before":  header(" {}", 0),
		"largest":       header("{}"+strings.Repeat(" ", 99_999_990), 0),
		"long string":   header(`{"`+strings.Repeat("x", 5<<20)+`":0}`, 0),
		"cut text":      header(`{"a":`, 0),
		"many tensors":  header("{"+bombtest.Rows(1<<17, `"%0200d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`)+`"":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, 0),
		"many notes":    header(`{"__metadata__":{`+bombtest.Rows(1<<13, `"%x":"",`)+`"x":""}}`, 0),
		"overlap":       header("{"+tensor("a", "2", 0, 2)+","+tensor("b", "2", 1, 3)+"}", 3),
		"gap":           header("{"+tensor("a", "1", 1, 2)+"}", 2),
		"cut data":      header("{"+tensor("a", "4", 0, 4)+"}", 3),
		"overflow":      header("{"+tensor("a", "4294967296,4294967296,4", 0, 0)+"}", 0),
		"name twice":    header("{"+tensor("a", "1", 0, 1)+","+tensor("a", "1", 0, 1)+"}", 1),
		"not UTF-8":     header("{\"\xff\":1}", 0),
		"deep":          header(`{"a":`+strings.Repeat("[", 20_000), 0),
		"two documents": header("{}{}", 0),
		"gguf":          append([]byte("GGUF\x03\x00\x00\x00"), make([]byte, 64)...),
		"numpy":         append([]byte("\x93NUMPY\x01\x00"), make([]byte, 64)...),
		"escapes":       header("{\"\\u001b[2J\":{\"dtype\":\"\\u001b]0;x\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1),
	}
}

// cmdWeights puts hostile weights into a model's directory.
func cmdWeights(ts *testscript.TestScript, _ bool, args []string) {
	data, ok := hostileWeights()[args[1]]
	if !ok {
		ts.Fatalf("no hostile weights %q", args[1])
	}
	ts.Check(os.WriteFile(filepath.Join(ts.MkAbs(args[0]), "model.safetensors"), data, 0o644))
}

// hostileManifests change the manifest of a sound model in one place (HOSTILE
// M2, M6, M7, M8, D1).
func hostileManifests() map[string]func(good string) string {
	swap := func(pattern, with string) func(string) string {
		return func(good string) string {
			at := regexp.MustCompile(pattern).FindStringIndex(good)
			if at == nil {
				panic("the manifest has no " + pattern)
			}
			return good[:at[0]] + with + good[at[1]:]
		}
	}
	digest := func(with string) func(string) string {
		return swap(`sha256:[0-9a-f]{64}","annotations`, with+`","annotations`)
	}
	size := func(with string) func(string) string {
		return swap(`"size":\d+,"digest":"sha256:[0-9a-f]+","annotations`, `"size":`+with+`,"digest":"sha256:`+strings.Repeat("0", 64)+`","annotations`)
	}
	key := func(text string) func(string) string { return swap(`^{`, "{"+text+",") }
	layer := func(text string) func(string) string { return swap(`"layers":\[{`, `"layers":[{`+text+",") }
	sized := func(n string) func(string) string {
		at := regexp.MustCompile(`("layers":\[{"mediaType":"[^"]+","size":)\d+`)
		return func(good string) string { return at.ReplaceAllString(good, "${1}"+n) }
	}
	index := func(entries string, n int) func(string) string {
		return func(string) string {
			return `{"schemaVersion":2,"mediaType":"` + bundle.MediaTypeIndex + `","manifests":[` + strings.Repeat(entries+",", n-1) + entries + "]}"
		}
	}
	path := func(text string) func(string) string {
		return swap(`"org\.cncf\.model\.filepath":"[^"]+"`, `"org.cncf.model.filepath":"`+text+`"`)
	}
	hex := strings.Repeat("a", 64)
	return map[string]func(string) string{
		"second document": func(good string) string { return good + good },
		"trailing byte":   func(good string) string { return good + "x" },
		"too deep":        key(`"x":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001)),
		"50 MiB":          key(`"x":"` + strings.Repeat("x", 50<<20) + `"`),
		"key twice":       key(`"schemaVersion":2`),
		"NaN":             size("NaN"),
		"size -1":         size("-1"),
		"size 1e3":        size("1e3"),
		"size 2^53+1":     size("9007199254740993"),
		"size 2^62":       size("4611686018427387904"),
		"size 2^64":       size("18446744073709551616"),
		"size 0":          sized("0"),
		"size short":      sized("100"),
		"size long":       sized("1000"),
		"data":            layer(`"data":"ZXZpbA=="`),
		"subject":         key(`"subject":{"mediaType":"` + bundle.MediaTypeManifest + `","digest":"sha256:` + hex + `","size":7}`),
		"long annotation": swap(`"annotations":{"io\.metal`, `"annotations":{"x":"`+strings.Repeat("x", 1<<20)+`","io.metal`),
		"escapes":         swap(`"annotations":{"io\.metal`, `"annotations":{"org.opencontainers.image.description":"\u001b[2J\u0007evil","io.metal`),
		"10,000 entries":  index(`{"mediaType":"`+bundle.MediaTypeManifest+`","size":2,"digest":"sha256:`+hex+`"}`, 10_000),
		"nested index":    index(`{"mediaType":"`+bundle.MediaTypeIndex+`","size":2,"digest":"sha256:`+hex+`","platform":{"os":"linux","architecture":"amd64"}}`, 1),
		"path up":         path("../evil"),
		"path absolute":   path("/etc/evil"),
		"path on Windows": path(`C:\\evil`),
		"path control":    path(`a\u001b[2Jb`),
		"path twice":      path("model.safetensors"),
		"path by case":    path("Model.Safetensors"),
		"no path":         path(""),
		"urls":            layer(`"urls":["http://127.0.0.1:1/x"]`),
		"artifactType":    swap(`cncf\.model\.manifest`, "evil.manifest"),
		"config type":     swap(`cncf\.model\.config`, "evil.config"),
		"layer type":      swap(`cncf\.model\.doc\.v1\.raw`, "evil.raw"),
		"compressed":      swap(`cncf\.model\.doc\.v1\.raw`, "cncf.model.doc.v1.raw+gzip"),
		"diff ids":        swap(`"layers":\[{[^}]+}},`, `"layers":[`),
		"many layers":     func(good string) string { return manyLayers(good, bundle.MaxLayers) },
		"digest up":       digest("sha256:../../x"),
		"digest 63":       digest("sha256:" + hex[1:]),
		"digest case":     digest("sha256:" + strings.ToUpper(hex)),
		"md5":             digest("md5:" + hex[:32]),
		"short sha512":    digest("sha512:" + hex),
		"digest newline":  digest("sha256:" + hex + `\n`),
		"another digest":  digest("sha256:" + hex),
	}
}

// manyLayers repeats the first layer.
func manyLayers(good string, n int) string {
	one := regexp.MustCompile(`"layers":\[({[^}]+}})`).FindStringSubmatch(good)[1]
	return strings.Replace(good, `"layers":[`, `"layers":[`+strings.Repeat(one+",", n), 1)
}

// cmdManifest writes the layout DIR, tag 1, from the sound layout GOOD with a
// hostile manifest in the place of its own.
func cmdManifest(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: manifest GOOD DIR KIND")
	}
	change, ok := hostileManifests()[args[2]]
	if !ok {
		ts.Fatalf("no hostile manifest %q", args[2])
	}
	rewrite(ts, args[0], args[1], func(_, text string) string { return change(text) })
}

// rewrite copies a layout with one artifact, and changes the manifest.
func rewrite(ts *testscript.TestScript, from, to string, change func(dir, manifest string) string) {
	dir := ts.MkAbs(to)
	ts.Check(os.RemoveAll(dir))
	ts.Check(os.CopyFS(dir, os.DirFS(ts.MkAbs(from))))
	var index struct {
		Manifests []bundle.Descriptor `json:"manifests"`
	}
	list := filepath.Join(dir, "index.json")
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(list)), &index))
	old := index.Manifests[0]
	blobs := filepath.Join(dir, "blobs", "sha256")
	data := change(dir, ts.ReadFile(filepath.Join(blobs, old.Digest.Encoded())))
	id := digest.FromString(data)
	ts.Check(os.WriteFile(filepath.Join(blobs, id.Encoded()), []byte(data), 0o644))
	text := strings.Replace(ts.ReadFile(list), old.Digest.String(), id.String(), 1)
	text = strings.Replace(text, fmt.Sprintf(`"size":%d`, old.Size), fmt.Sprintf(`"size":%d`, len(data)), 1)
	if strings.Contains(data, `"manifests"`) {
		text = strings.Replace(text, old.MediaType, bundle.MediaTypeIndex, 1)
	}
	ts.Check(os.Chmod(list, 0o644))
	ts.Check(os.WriteFile(list, []byte(text), 0o644))
}

// cmdRefuses runs a program that must end in time, with an exit code of its
// own, within the memory of an attack, without a panic, and with one error that
// a terminal can show; what it said is stderr.
func cmdRefuses(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: refuses PATTERN PROGRAM ARG…")
	}
	shell := limited
	if raceDetector() {
		shell = `exec "$@"`
	}
	cmd := exec.Command("/bin/sh", append([]string{"-c", shell, "sh"}, args[1:]...)...)
	cmd.Dir = ts.MkAbs(".")
	for _, key := range []string{"PATH", "HOME", "TMPDIR", "METALRUN_HOME", "MODELS_PATH", "DOCKER_CONFIG", "XDG_CACHE_HOME", "HF_ENDPOINT"} {
		cmd.Env = append(cmd.Env, key+"="+ts.Getenv(key))
	}
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	ts.Check(cmd.Start())
	kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	err := cmd.Wait()
	line := strings.Join(args[1:], " ")
	ts.Logf("%s: %v\n%s", line, err, stderr.Bytes())
	exit, ok := errors.AsType[*exec.ExitError](err)
	switch {
	case !kill.Stop():
		ts.Fatalf("%s: not done after %s", line, patience)
	case !ok || exit.ExitCode() != 1 && exit.ExitCode() != 3 && exit.ExitCode() != 4:
		ts.Fatalf("%s: %v, want exit code 1, 3 or 4", line, err)
	case bytes.Contains(stderr.Bytes(), []byte("goroutine ")), bytes.ContainsAny(stderr.Bytes(), "\x00\x1b\x07"):
		ts.Fatalf("%s: a panic, or what a terminal obeys", line)
	case !regexp.MustCompile(args[0]).Match(stderr.Bytes()):
		ts.Fatalf("%s: no match for %s", line, args[0])
	}
}

// cmdSwap writes the layout DIR as GOOD is but for other weights, whose digest
// and size every manifest and config says.
func cmdSwap(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 3 {
		ts.Fatalf("usage: swap GOOD DIR FILE")
	}
	weights := []byte(ts.ReadFile(args[2]))
	old := regexp.MustCompile(`"size":\d+,"digest":"(sha256:[0-9a-f]{64})","annotations":{"org\.cncf\.model\.filepath":"model\.safetensors"`)
	var id digest.Digest
	rewrite(ts, args[0], args[1], func(dir, text string) string {
		was := digest.Digest(old.FindStringSubmatch(text)[1])
		id = digest.FromBytes(weights)
		ts.Check(os.WriteFile(filepath.Join(dir, "blobs", "sha256", id.Encoded()), weights, 0o644))
		var m struct {
			Config bundle.Descriptor `json:"config"`
		}
		ts.Check(json.Unmarshal([]byte(text), &m))
		config := strings.ReplaceAll(ts.ReadFile(filepath.Join(dir, "blobs", "sha256", m.Config.Digest.Encoded())), was.String(), id.String())
		other := digest.FromString(config)
		ts.Check(os.WriteFile(filepath.Join(dir, "blobs", "sha256", other.Encoded()), []byte(config), 0o644))
		text = old.ReplaceAllStringFunc(text, func(s string) string {
			return regexp.MustCompile(`"size":\d+`).ReplaceAllString(s, fmt.Sprintf(`"size":%d`, len(weights)))
		})
		return strings.NewReplacer(was.String(), id.String(), m.Config.Digest.String(), other.String()).Replace(text)
	})
}
