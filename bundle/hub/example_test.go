// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub_test

import (
	"fmt"

	"github.com/metalpack/metalpack/bundle/hub"
)

func ExampleParseReference() {
	ref, err := hub.ParseReference("https://huggingface.co/mlx-community/Llama-3.2-1B-Instruct-4bit@main")
	fmt.Println(ref, err)
	_, err = hub.ParseReference("hf.co/mlx-community/Llama-3.2-1B-Instruct-4bit:latest")
	fmt.Println(err)
	// Output:
	// hf.co/mlx-community/Llama-3.2-1B-Instruct-4bit@main <nil>
	// model "hf.co/mlx-community/Llama-3.2-1B-Instruct-4bit:latest": a revision follows @, not a colon: invalid
}
