// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
)

// What is wrong with a document is said in the words of JSON, with its place.
func TestDecodeStrictSays(t *testing.T) {
	t.Parallel()
	type row struct {
		Size int64 `json:"size"`
	}
	var v struct {
		Names map[string]string `json:"names"`
		Rows  []row             `json:"rows"`
	}
	for in, want := range map[string]string{
		" \n":                                 "JSON: there is none: invalid",
		"<html>":                              "JSON: invalid character '<' looking for beginning of value at byte 0: invalid",
		`{"names":`:                           "JSON: ends too early at byte 9: invalid",
		`{"a":1,"a":2}`:                       `JSON: key "a" twice at byte 10: invalid`,
		`{} {}`:                               "JSON: more than one document at byte 4: invalid",
		`[]`:                                  "JSON: the document is of type array, want object, at byte 1: invalid",
		`{"names":[]}`:                        `JSON: "names" is of type array, want object, at byte 10: invalid`,
		`{"rows":{}}`:                         `JSON: "rows" is of type object, want array, at byte 9: invalid`,
		`{"rows":[{"size":1e3}]}`:             `JSON: "rows.size" is of type number 1e3, want whole number, at byte 20: invalid`,
		`{"names":{"A":"","a":""},"Rows":[]}`: `JSON: key "Rows", which is "rows" in another case, at byte 31: invalid`,
		`{"rows":[{"ſize":1}]}`:               `JSON: key "ſize", which is "size" in another case, at byte 17: invalid`,
		"[" + many(1<<19) + "]":               "JSON: more than 524288 values at byte ",
	} {
		err := bundle.DecodeStrict([]byte(in), &v)
		if !errors.Is(err, bundle.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", in, err, want)
		}
	}
}

// Keys that nobody reads may differ in case alone, and so may those of maps.
func TestDecodeStrictCase(t *testing.T) {
	t.Parallel()
	var v struct {
		Names map[string]json.RawMessage `json:"names"`
		Own   json.RawMessage            `json:"own"`
		Last  *struct{ Plain int }       `json:"last"`
	}
	const in = `{"names":{"a":{"size":1,"Size":2},"A":{}},"own":{"x":1,"X":2},"other":{"y":1,"Y":2},"last":{"Plain":3}}`
	if err := bundle.DecodeStrict([]byte(in), &v); err != nil || len(v.Names) != 2 || v.Last.Plain != 3 {
		t.Errorf("%+v, %v", v, err)
	}
	var m map[string]int
	if err := bundle.DecodeStrict([]byte(`{"a":1,"A":2}`), &m); err != nil || len(m) != 2 {
		t.Errorf("%v, %v", m, err)
	}
}

// many is the inside of an array of n numbers.
func many(n int) string { return strings.Repeat(",0", n)[1:] }
