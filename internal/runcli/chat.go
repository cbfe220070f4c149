// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/runtime/proxy"
)

// maxAnswerLine caps one line of a streamed answer, and an error's body.
const maxAnswerLine = 1 << 20

// message is one turn of a chat.
type message struct {
	Role    string `json:"role"`
	Content string `json:"content"`
}

// chat is a conversation with one model.
type chat struct {
	app       *app
	endpoint  string
	own       *witness // nil = the endpoint is another program's
	model     string
	maxTokens int
	history   []message
}

// once asks one question.
func (c *chat) once(ctx context.Context, prompt string) error {
	answer, _, err := c.turn(ctx, prompt)
	if err == nil && c.app.JSON {
		return c.app.Result(map[string]string{"model": c.model, "answer": answer}, "")
	}
	return err
}

// loop asks every line of stdin until it ends. At a terminal a turn that fails
// is told, and another may follow; a script would go on without its answer.
func (c *chat) loop(ctx context.Context) error {
	c.app.Note("chat with %s; an empty line or the end of input ends it", c.model)
	lines := readLines(ctx, c.app.Env.Stdin)
	for {
		line, err := lines.next(ctx)
		if err != nil || strings.TrimSpace(line) == "" {
			return err
		}
		var told any
		answer, last, err := c.turn(ctx, line)
		switch {
		case err == nil:
			told = map[string]string{"model": c.model, "answer": answer}
		case last || !c.app.typed():
			return err
		default:
			c.app.Clear()
			told = c.app.Env.Fail(err)
			c.app.Note("the chat goes on without that turn")
		}
		if c.app.JSON { // one line per turn
			if err := json.NewEncoder(c.app.Env.Stdout).Encode(told); err != nil {
				return err
			}
		}
	}
}

// typed reports whether stdin is a terminal.
func (a *app) typed() bool {
	f, ok := a.Env.Stdin.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// turn asks, and forgets what got no whole answer. After the last turn there is
// nothing left to ask, or nobody to tell: the engine does not start, nothing
// listens at the endpoint, the user ended it, or stdout is gone.
func (c *chat) turn(ctx context.Context, prompt string) (answer string, last bool, err error) {
	before := len(c.history)
	answer, err = c.ask(ctx, prompt)
	if err == nil {
		return answer, false, nil
	}
	c.history = c.history[:before]
	if why := c.own.refusal(); why != nil {
		return "", !errors.Is(why, proxy.ErrBackOff), why
	}
	network, _ := errors.AsType[*net.OpError](err)
	_, stdout := errors.AsType[*fs.PathError](err)
	return "", ctx.Err() != nil || stdout || network != nil && network.Op == "dial", err
}

// ask streams the answer to stdout, or collects it under --json.
func (c *chat) ask(ctx context.Context, prompt string) (string, error) {
	c.history = append(c.history, message{Role: "user", Content: prompt})
	body := map[string]any{"model": c.model, "messages": c.history, "stream": true}
	if c.maxTokens > 0 {
		body["max_tokens"] = c.maxTokens
	}
	data, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.endpoint+"/v1/chat/completions", bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		if uerr, ok := errors.AsType[*url.Error](err); ok { // it repeats the address
			err = uerr.Err
		}
		return "", edge.WithHint(fmt.Errorf("%s: %w: %w", c.endpoint, bundle.ErrUnreachable, err),
			"does 'metalrun serve' run there? Without --endpoint the command starts an engine itself")
	}
	defer func() { _ = res.Body.Close() }() // it was read only
	if res.StatusCode != http.StatusOK {
		return "", c.refusal(res)
	}
	if kind := res.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") {
		return "", fmt.Errorf("%s: it answers with %q, want a stream of events: %w", c.endpoint, kind, bundle.ErrInvalid)
	}
	answer, err := c.stream(res.Body)
	c.history = append(c.history, message{Role: "assistant", Content: answer})
	return answer, err
}

// refusal turns an answer that is none into an error.
func (c *chat) refusal(res *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswerLine))
	if err != nil {
		return err
	}
	var e apiError
	if json.Unmarshal(data, &e) != nil || e.Error.Message == "" {
		return edge.WithHint(fmt.Errorf("%s: it answers %s", c.endpoint, res.Status), "is that the address of 'metalrun serve', or of another server of OpenAI's API?")
	}
	if res.StatusCode == http.StatusNotFound {
		return edge.Errorf(bundle.ErrNotFound, "%s", e.Error.Message)
	}
	return errors.New(e.Error.Message)
}

// apiError is the error shape of the OpenAI API.
type apiError struct {
	Error struct {
		Message string `json:"message"`
	} `json:"error"`
}

// stream prints an answer, and ends its line whatever became of it.
func (c *chat) stream(r io.Reader) (string, error) {
	answer, err := c.deltas(r)
	if !c.app.JSON && (answer != "" || err == nil) {
		err = errors.Join(err, c.app.Print("\n"))
	}
	return answer, err
}

// deltas prints those of a server-sent event stream as they come, and returns
// them.
func (c *chat) deltas(r io.Reader) (string, error) {
	var answer strings.Builder
	finished := false // an engine may say so in its last piece alone
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxAnswerLine)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data:")
		if !ok {
			continue
		}
		if data = strings.TrimSpace(data); data == "[DONE]" {
			return answer.String(), nil
		}
		var chunk struct {
			apiError
			Choices []struct {
				Delta  message `json:"delta"`
				Reason string  `json:"finish_reason"` //nolint:tagliatelle // the API of OpenAI
			} `json:"choices"`
		}
		if err := json.Unmarshal([]byte(data), &chunk); err != nil {
			return answer.String(), fmt.Errorf("the stream has a line that is not JSON: %w", err)
		}
		if chunk.Error.Message != "" {
			return answer.String(), errors.New(chunk.Error.Message)
		}
		for _, choice := range chunk.Choices {
			finished = finished || choice.Reason != ""
			answer.WriteString(choice.Delta.Content)
			if c.app.JSON {
				continue
			}
			if err := c.app.Print(edge.Clean(choice.Delta.Content)); err != nil {
				return answer.String(), err
			}
		}
	}
	if err := lines.Err(); err != nil || finished {
		return answer.String(), err
	}
	return answer.String(), errors.New("the answer was cut: the stream ended before [DONE]")
}
