// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import (
	"errors"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/bombtest"
)

const lockHead = "lock-version = \"1.0\"\ncreated-by = \"x\"\n"

// TestShape: what costs far more to decode than to write is refused before it is
// decoded.
func TestShape(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"keys":            {"[tool]\n" + bombtest.Rows(maxKeys, "k%x = 1\n"), "more than 1000 different keys"},
		"quoted keys":     {"[tool]\n" + bombtest.Rows(maxKeys, "\"k.%x\" = 1\n"), "more than 1000 different keys"},
		"inline keys":     {"[tool]\na = {" + bombtest.Rows(maxKeys, "k%x=1,") + "}\n", "more than 1000 different keys"},
		"tables":          {bombtest.Rows(maxKeys, "[tool.k%x] # %[1]d\n"), "more than 1000 different keys"},
		"deep key":        {"[tool]\na" + strings.Repeat(".a", 200) + " = 1\n", "a key of 401 bytes"},
		"deep table":      {"[tool" + strings.Repeat(".a", 200) + "]\n", "a key of 406 bytes"},
		"rows":            {strings.Repeat("[[packages]]\n", maxBrackets), "more than 200000 brackets"},
		"files":           {"[[packages]]\nwheels = [" + strings.Repeat("{},", maxBrackets) + "]\n", "more than 200000 brackets"},
		"numbers":         {"[tool]\na = [" + strings.Repeat("1,", maxValues) + "]\n", "more than 500000 values"},
		"bytes":           {strings.Repeat("#\n", maxLock/2), "more than 4194304 bytes"},
		"after a text":    {"a = '''\n[[{{''' # '\n[tool]\n" + bombtest.Rows(maxKeys, "k%x=1\n"), "more than 1000 different keys"},
		"after an escape": {"a = \"\\\"\"\n[tool]\n" + bombtest.Rows(maxKeys, "k%x=1\n"), "more than 1000 different keys"},
	} {
		if _, err := Parse("pylock.toml", []byte(lockHead+c.text)); !errors.Is(err, bundle.ErrInvalid) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %.300v; want %q", name, err, c.want)
		}
	}
	// The most that a lock for every platform may say.
	wheel := `  {name = "a-1-py3-none-any.whl", url = "https://host.example/a.b.c.d.e/=,[{#", size = 1, hashes = {sha256 = "` + strings.Repeat("0", 64) + "\"}},\n"
	rows := strings.Repeat("[[packages]] # a comment\nname = \"a\"\nversion = \"1\"\nwheels = [\n"+strings.Repeat(wheel, 50)+"]\n", 200)
	if err := checkShape([]byte(lockHead + rows)); err != nil {
		t.Errorf("a large lock: %v", err)
	}
}
