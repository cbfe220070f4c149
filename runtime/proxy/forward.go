// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package proxy

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"
)

// Caps of what is read from an engine.
const (
	maxAnswer = 256 << 20 // one answer that is not streamed
	maxEvent  = 32 << 20  // one line of a stream
	maxError  = 1 << 20
)

// writeTimeout is how long a client may leave an answer unread: an engine that
// waits for it serves nobody else. The server lifts it before the next request.
const writeTimeout = 2 * time.Minute

// forward sends one request to an engine and its answer back.
func (h *handler) forward(w http.ResponseWriter, r *http.Request, path string) {
	body, err := h.read(w, r)
	if err != nil {
		engineError(err).write(w)
		return
	}
	req, err := parseRequest(body)
	if err != nil {
		engineError(err).write(w)
		return
	}
	ctx := r.Context()
	model, err := h.find(ctx, req.model)
	if err != nil {
		engineError(err).write(w)
		return
	}
	asked := req.model
	if asked == "" {
		asked = model.ID
	}
	lease, err := h.opts.Backends.Acquire(ctx, model.key())
	if err != nil {
		if ctx.Err() == nil {
			engineError(err).write(w)
		}
		return
	}
	defer lease.Release()
	resp, err := h.send(ctx, lease, path, req)
	if err != nil {
		if ctx.Err() == nil {
			cause(lease, err).write(w)
		}
		return
	}
	defer func() { _ = resp.Body.Close() }() // only read
	h.answer(ctx, w, resp, exchange{lease: lease, asked: asked, path: path})
}

// read reads the body of a request, of a bounded size in a bounded time. The
// server lifts the deadline at the body's end, where it begins to listen for the
// client's.
func (h *handler) read(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(h.opts.BodyTimeout)) // not with a writer that is no connection
	body, err := readBody(http.MaxBytesReader(w, r.Body, h.opts.MaxBody), r.ContentLength, h.opts.MaxBody)
	_, tooLarge := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		return body, nil
	case tooLarge:
		return nil, newError(http.StatusRequestEntityTooLarge, "", "request_too_large", fmt.Sprintf("the request is larger than %d bytes", h.opts.MaxBody))
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		return nil, newError(http.StatusRequestTimeout, "", "request_timeout", fmt.Sprintf("the request was not complete after %s", h.opts.BodyTimeout))
	}
	return nil, newError(http.StatusBadRequest, "", "invalid_body", fmt.Sprintf("the body of the request cannot be read: %v", err))
}

// send makes the request to the engine.
func (h *handler) send(ctx context.Context, lease *Lease, path string, req *request) (*http.Response, error) {
	pieces, err := req.encode(lease.Model)
	if err != nil {
		return nil, err
	}
	body, size := joined(pieces)
	out, err := http.NewRequestWithContext(ctx, http.MethodPost, lease.URL+path, body)
	if err != nil {
		return nil, err
	}
	out.ContentLength = size
	out.GetBody = func() (io.ReadCloser, error) { // for a connection that was closed meanwhile
		again, _ := joined(pieces)
		return io.NopCloser(again), nil
	}
	out.Header.Set("Content-Type", "application/json")
	if req.stream {
		out.Header.Set("Accept", "text/event-stream")
	}
	return h.client.Do(out)
}

// exchange is what is needed of a request to write its answer.
type exchange struct {
	lease *Lease
	asked string // the model's name in the client's words
	path  string
}

// answer writes the engine's response to the client.
func (h *handler) answer(ctx context.Context, w http.ResponseWriter, resp *http.Response, x exchange) {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // an unreadable type is passed on as it is
	if resp.StatusCode >= 300 {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // what came of an error is enough
		status := resp.StatusCode
		if status < 400 {
			status = http.StatusBadGateway
		}
		normaliseError(status, body, x.lease.Model, x.asked).write(w)
		return
	}
	switch kind {
	case "text/event-stream":
		header(w, resp)
		w.Header().Set("X-Accel-Buffering", "no")
		w.WriteHeader(resp.StatusCode)
		if err := stream(w, resp.Body, x); err != nil && ctx.Err() == nil {
			writeEvent(w, cause(x.lease, err))
		}
	case "application/json":
		body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
		if err == nil && len(body) > maxAnswer {
			err = fmt.Errorf("it is larger than %d bytes", maxAnswer)
		}
		if err != nil {
			if ctx.Err() == nil {
				cause(x.lease, err).write(w)
			}
			return
		}
		header(w, resp)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTimeout)) // as in stream
		w.WriteHeader(resp.StatusCode)
		_, _ = w.Write(replaceModel(body, x.asked)) // a client that is gone reads no answer
	default:
		header(w, resp)
		w.WriteHeader(resp.StatusCode)
		if err := pass(w, resp.Body); err != nil {
			panic(http.ErrAbortHandler) // the status is sent: only a cut can tell that this is not all
		}
	}
}

// pass copies an answer of a kind that is not looked into. It returns an error
// if the engine broke off, or the client did.
func pass(w http.ResponseWriter, r io.Reader) error {
	control := http.NewResponseController(w)
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		_ = control.SetWriteDeadline(time.Now().Add(writeTimeout)) // as in stream
		if _, werr := w.Write(buf[:n]); werr != nil {
			return werr
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_ = control.Flush() // as in stream
	}
}

// header copies what the client may see of the engine's headers: not its CORS
// headers, which are "*" with some.
func header(w http.ResponseWriter, resp *http.Response) {
	for _, name := range []string{"Content-Type", "Cache-Control", "X-Request-Id"} {
		if v := resp.Header.Get(name); v != "" {
			w.Header().Set(name, v)
		}
	}
}

var errCutShort = errors.New("the engine ended the stream before [DONE]")

// stream copies server-sent events, event by event, with the model's name put
// back. It returns an error if the engine broke off.
func stream(w http.ResponseWriter, r io.Reader, x exchange) error {
	flusher := http.NewResponseController(w)
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxEvent)
	finished := false
	for lines.Scan() {
		line := lines.Bytes()
		if data, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = bytes.TrimSpace(data)
			if string(data) == "[DONE]" {
				finished = true
			}
			line = append([]byte("data: "), replaceModel(data, x.asked)...)
		}
		_ = flusher.SetWriteDeadline(time.Now().Add(writeTimeout)) // not with a writer that is no connection
		if _, err := w.Write(append(bytes.Clone(line), '\n')); err != nil {
			return nil //nolint:nilerr // the client is gone; the engine is told by the context
		}
		// An event ends with an empty line; a comment keeps the line alive.
		if len(line) == 0 || line[0] == ':' {
			_ = flusher.Flush() // a writer that cannot flush sends later
		}
	}
	if err := lines.Err(); err != nil {
		return err
	}
	// Engines that speak HTTP/1.0 end a broken stream like a whole one.
	if !finished && strings.HasSuffix(x.path, "/completions") {
		return errCutShort
	}
	return nil
}

// writeEvent reports an error inside a stream, as clients of OpenAI expect it.
func writeEvent(w http.ResponseWriter, e *apiError) {
	// The leading newline ends an event that was cut in the middle.
	_, _ = fmt.Fprintf(w, "\ndata: %s\n\n", e.body()) // a client that is gone reads no error
	_ = http.NewResponseController(w).Flush()         // likewise
}

// cause prefers why the engine ended to what became of the connection.
func cause(lease *Lease, err error) *apiError {
	if lease.Cause != nil {
		if why := lease.Cause(); why != nil {
			return engineError(why)
		}
	}
	return newError(http.StatusBadGateway, "", "engine_failed", fmt.Sprintf("no answer from the engine: %v", err))
}
