// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle_test

import (
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
		" \n":                     "JSON: there is none: invalid",
		"<html>":                  "JSON: invalid character '<' looking for beginning of value at byte 0: invalid",
		`{"names":`:               "JSON: ends too early at byte 9: invalid",
		`{"a":1,"a":2}`:           `JSON: key "a" twice at byte 10: invalid`,
		`{} {}`:                   "JSON: more than one document at byte 4: invalid",
		`[]`:                      "JSON: the document is of type array, want object, at byte 1: invalid",
		`{"names":[]}`:            `JSON: "names" is of type array, want object, at byte 10: invalid`,
		`{"rows":{}}`:             `JSON: "rows" is of type object, want array, at byte 9: invalid`,
		`{"rows":[{"size":1e3}]}`: `JSON: "rows.size" is of type number 1e3, want whole number, at byte 20: invalid`,
		"[" + many(1<<19) + "]":   "JSON: more than 524288 values at byte ",
	} {
		err := bundle.DecodeStrict([]byte(in), &v)
		if !errors.Is(err, bundle.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%.40q: got %v, want %q", in, err, want)
		}
	}
}

// many is the inside of an array of n numbers.
func many(n int) string { return strings.Repeat(",0", n)[1:] }
