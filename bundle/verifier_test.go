// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/metalpack/metalpack/bundle"
)

func TestVerifier(t *testing.T) {
	t.Parallel()
	data := strings.Repeat("0123456789", 1000)
	desc := bundle.DescriptorOf("x", []byte(data))
	for name, tt := range map[string]struct {
		in   string
		want error
	}{
		"right": {data, nil},
		"empty": {"", bundle.ErrMismatch},
		"short": {data[1:], bundle.ErrMismatch},
		"long":  {data + "x", bundle.ErrMismatch},
		"other": {"x" + data[1:], bundle.ErrMismatch},
	} {
		for how, wrap := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "byte by byte": iotest.OneByteReader, "error with data": iotest.DataErrReader,
		} {
			v := bundle.NewVerifier(wrap(strings.NewReader(tt.in)), desc)
			got, err := io.ReadAll(v)
			if !errors.Is(err, tt.want) || (err == nil) != (tt.want == nil) {
				t.Errorf("%s, %s: got %v", name, how, err)
			}
			if len(got) > len(data) {
				t.Errorf("%s, %s: %d bytes came through", name, how, len(got))
			}
			if _, again := v.Read(make([]byte, 1)); tt.want != nil && !errors.Is(again, tt.want) {
				t.Errorf("%s, %s: the error did not stay: %v", name, how, again)
			}
		}
	}
}

// TestVerifierFinish: a decoder that stops early does not hide what follows.
func TestVerifierFinish(t *testing.T) {
	t.Parallel()
	data := []byte("0123456789")
	v := bundle.NewVerifier(bytes.NewReader(append(bytes.Clone(data), '!')), bundle.DescriptorOf("x", data))
	if _, err := io.CopyN(io.Discard, v, 5); err != nil {
		t.Fatal(err)
	}
	if err := v.Finish(); !errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("got %v", err)
	}
}

func TestVerifierKeepsCause(t *testing.T) {
	t.Parallel()
	cut := errors.New("cut")
	_, err := bundle.ReadVerified(iotest.ErrReader(cut), bundle.DescriptorOf("x", []byte("data")))
	if !errors.Is(err, cut) || errors.Is(err, bundle.ErrMismatch) {
		t.Errorf("got %v", err)
	}
}

func TestDecodeStrict(t *testing.T) {
	t.Parallel()
	for _, in := range []string{`{"a":1}`, ` {"a":1,"b":[{"a":1},{"a":2}]} `} {
		var v struct{ A int }
		if err := bundle.DecodeStrict([]byte(in), &v); err != nil || v.A != 1 {
			t.Errorf("%s: %v, %v", in, v, err)
		}
	}
	for _, in := range []string{"", "{", `{"a":1}{}`, `{"a":1,"a":2}`, `{"b":{"a":1,"a":2}}`, `{"\u0061":1,"a":2}`, `{"a":NaN}`, `{"a":1,}`, "{\"a\":\"\xff\"}", `{"a":"x"}`, strings.Repeat("[", 10001)} {
		var v struct{ A int }
		if err := bundle.DecodeStrict([]byte(in), &v); !errors.Is(err, bundle.ErrInvalid) {
			t.Errorf("%.40s: got %v", in, err)
		}
	}
}
