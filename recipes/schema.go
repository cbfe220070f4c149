// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package recipes

import (
	"bytes"
	_ "embed" // schema.json
)

//go:embed schema.json
var schema []byte

// Schema returns the JSON Schema (2020-12) of recipe.yaml. What it refuses,
// [Load] refuses; Load knows more: what fields have to do with one another.
func Schema() []byte { return bytes.Clone(schema) }
