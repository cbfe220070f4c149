// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	goruntime "runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// TestRequestBombs: requests of 64 MB of which an honest decoder makes gigabytes
// are read, or refused, in next to no memory beside their bytes. Here they have 8.
func TestRequestBombs(t *testing.T) { //nolint:paralleltest // it counts what the whole program allocates
	const size = 8 << 20
	fill := func(head, unit, tail string) string { return head + strings.Repeat(unit, size/len(unit)) + tail }
	var fields strings.Builder
	for i := range maxFields + 1 {
		fmt.Fprintf(&fields, `"f%d":0,`, i)
	}
	for name, c := range map[string]struct{ body, want string }{
		"small values":            {fill(`{"x":[0`, `,0`, `]}`), ""},
		"small values as input":   {fill(`{"input":[0`, `,0`, `]}`), ""},
		"objects in messages":     {fill(`{"messages":[{}`, `,{"a":0}`, `]}`), ""},
		"stream options":          {fill(`{"stream_options":{"a":0`, `,"a":[]`, `}}`), ""},
		"one string":              {fill(`{"x":"`, `\"`, `"}`), ""},
		"a picture":               {fill(`{"messages":[{"image_url":"data:`, `A`, `"}]}`), ""},
		"blanks":                  {fill(`{`, ` `, `}`), ""},
		"not an object":           {fill(`[0`, `,0`, `]`), "not a JSON object"},
		"cut":                     {fill(`{"x":[0`, `,0`, ``), "not a JSON object"},
		"deep":                    {fill(`{"x":`, `[`, ``), "not a JSON object"},
		"one field":               {fill(`{"x":0`, `,"x":0`, `}`), `field "x" appears twice`},
		"fields":                  {"{" + fields.String() + `"y":0}`, "more than 1024 fields"},
		"a key":                   {fill(`{"`, `k`, `":0}`), "a key has more than 1024 bytes"},
		"a key in messages":       {fill(`{"messages":[{"`, `\u0061`, `":0}]}`), "a key has more than 1024 bytes"},
		"a key in options":        {fill(`{"stream_options":{"`, `\u0061`, `":0}}`), "a key has more than 1024 bytes"},
		"a model":                 {fill(`{"model":"`, `m`, `"}`), "model has more than 1024 bytes"},
		"a stream that is a word": {fill(`{"stream":"`, `m`, `"}`), "stream must be true or false"},
		"adapters":                {fill(`{"adapters":"`, `m`, `"}`), "adapters is not supported"},
		"an address":              {fill(`{"input":{"image":"http://`, `m`, `"}}`), "is not fetched"},
	} {
		body := []byte(c.body)
		var before, after goruntime.MemStats
		goruntime.ReadMemStats(&before)
		r, err := parseRequest(body)
		var pieces [][]byte
		if err == nil {
			pieces, err = r.encode("/m")
		}
		goruntime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
			t.Errorf("%s: %d bytes of memory", name, used)
		}
		switch {
		case c.want == "" && (err != nil || len(pieces) == 0):
			t.Errorf("%s: %v", name, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500):
			t.Errorf("%s: %.500v, want %q", name, err, c.want)
		}
	}
}

// TestReadBody: a body costs little more than its bytes, and nothing for bytes
// that were announced and do not come.
func TestReadBody(t *testing.T) { //nolint:paralleltest // as above
	for name, c := range map[string]struct {
		sent, announced, most, memory int64
	}{
		"as announced":       {16 << 20, 16 << 20, 64 << 20, 48 << 20},
		"not announced":      {16 << 20, -1, 64 << 20, 90 << 20},
		"announced, missing": {10, 64 << 20, 64 << 20, 1 << 20},
		"empty":              {0, 0, 64 << 20, 1 << 20},
		"no more than most":  {100, 100, 100, 1 << 20},
	} {
		data := strings.Repeat("x", int(c.sent))
		var before, after goruntime.MemStats
		goruntime.ReadMemStats(&before)
		got, err := readBody(strings.NewReader(data), c.announced, c.most)
		goruntime.ReadMemStats(&after)
		if err != nil || string(got) != data {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if used := int64(after.TotalAlloc - before.TotalAlloc); used > c.memory {
			t.Errorf("%s: %d bytes of memory", name, used)
		}
	}
	if got, err := readBody(iotest.OneByteReader(strings.NewReader("abc")), 1, 64); err != nil || string(got) != "abc" {
		t.Errorf("more than announced: %q, %v", got, err)
	}
}

// TestEncode: what an engine gets is what the client sent, but for the name.
func TestEncode(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{}`:                                 `{"model":"/m"}`,
		`{ "a" : 1.50 , "model":"x"}`:        `{"model":"/m","a" : 1.50}`,
		`{"\u006dodel":"x","b":"<é\u00e9>"}`: `{"model":"/m","b":"<é\u00e9>"}`,
		`{"model":null,"stream_options":{"x":1}}`:             `{"model":"/m"}`,
		`{"stream_options":{"include_usage":false}}`:          `{"model":"/m","stream_options":{"include_usage":false}}`,
		`{"stream_options":null,"stream":true}`:               `{"model":"/m","stream_options":null,"stream":true}`,
		`{"a":{"model":"x","b":["]}\\\"",{}]},"model":"m\\"}`: `{"model":"/m","a":{"model":"x","b":["]}\\\"",{}]}}`,
	} {
		r, err := parseRequest([]byte(in))
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := encoded(t, r); got != want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

func encoded(tb testing.TB, r *request) string {
	tb.Helper()
	pieces, err := r.encode("/m")
	if err != nil {
		tb.Fatal(err)
	}
	body, size := joined(pieces)
	data, err := io.ReadAll(body)
	if err != nil || int64(len(data)) != size {
		tb.Fatalf("%d of %d bytes, %v", len(data), size, err)
	}
	return string(data)
}

// FuzzParseRequest holds the cursor against Go's decoder: what passes is what
// that reads, with the name replaced, and no address gets by that it shows.
func FuzzParseRequest(f *testing.F) {
	for _, s := range []string{
		`{"model":"x","stream":true,"stream_options":{"include_usage":true}}`,
		`{"messages":[{"content":[{"image_url":{"url":"data:,"}},{"\u0069mage":"http://x"}]}]}`,
		`{"input":[{"source":{"url":"//x"}}], "x":-1.5e3, "y":[[],{},"\\\"",null,true]}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseRequest(body)
		if err != nil {
			return
		}
		var want, got map[string]any
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		for _, key := range conversations() {
			if url, found := remoteMedia(want[key]); found {
				t.Errorf("%q passes", url)
			}
		}
		if options, ok := want["stream_options"].(map[string]any); ok {
			if _, ok := options["include_usage"]; !ok {
				delete(want, "stream_options")
			}
		}
		want["model"] = "/m"
		if err := json.NewDecoder(bytes.NewReader([]byte(encoded(t, r)))).Decode(&got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

// remoteMedia finds an address in a decoded value.
func remoteMedia(v any) (string, bool) {
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if url, found := remoteMedia(item); found {
				return url, true
			}
		}
	case map[string]any:
		for key, value := range v {
			inner, ok := value.(map[string]any)
			if ok && placeOf([]byte(key))&hasAddress != 0 {
				value = inner["url"]
			}
			if url, is := value.(string); is && !strings.HasPrefix(url, "data:") && (placeOf([]byte(key))&isAddress != 0 || ok && placeOf([]byte(key)) != 0) {
				return url, true
			}
			if url, found := remoteMedia(v[key]); found {
				return url, true
			}
		}
	}
	return "", false
}
