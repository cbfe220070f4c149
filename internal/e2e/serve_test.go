// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/metalpack/metalpack/internal/tinymodel"
)

// patience bounds every wait of a script: only what hangs meets it, on the slowest
// machine too.
const patience = 5 * time.Minute

// cmdModel writes a tiny model, with extra keys in its config.json.
func cmdModel(ts *testscript.TestScript, _ bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(tinymodel.Write(dir))
	name := filepath.Join(dir, "config.json")
	data, err := os.ReadFile(name)
	ts.Check(err)
	config := map[string]any{}
	ts.Check(json.Unmarshal(data, &config))
	for k, v := range pairs(ts, args[1:]) {
		config[k] = v
	}
	data, err = json.MarshalIndent(config, "", "  ")
	ts.Check(err)
	ts.Check(os.WriteFile(name, data, 0o644))
}

// cmdAnswers waits until a server answers at all.
func cmdAnswers(ts *testscript.TestScript, _ bool, args []string) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, args[0], nil)
		ts.Check(err)
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			ts.Check(res.Body.Close())
			return
		}
		select {
		case <-ctx.Done():
			ts.Fatalf("%s: %v", args[0], err)
		case <-tick.C:
		}
	}
}

// cmdChat asks an OpenAI endpoint and writes status and body to stdout.
func cmdChat(ts *testscript.TestScript, neg bool, args []string) {
	stream := args[0] == "-stream"
	if stream {
		args = args[1:]
	}
	if len(args) != 3 {
		ts.Fatalf("usage: chat [-stream] URL MODEL PROMPT")
	}
	body, err := json.Marshal(map[string]any{
		"model": args[1], "stream": stream, "max_tokens": 8,
		"messages": []map[string]string{{"role": "user", "content": args[2]}},
	})
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, args[0]+"/v1/chat/completions", bytes.NewReader(body))
	ts.Check(err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	ts.Check(err)
	answer, err := io.ReadAll(res.Body)
	ts.Check(err)
	ts.Check(res.Body.Close())
	_, err = ts.Stdout().Write([]byte(res.Status + "\n" + string(answer) + "\n"))
	ts.Check(err)
	if (res.StatusCode == http.StatusOK) == neg {
		ts.Fatalf("chat: %s: %s", res.Status, answer)
	}
}
