// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package modelstore

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/model"
)

const (
	desktopPrefix = "/exp/vDD4.40" // of DMR's API on Docker Desktop's socket
	maxAnswer     = 16 << 20       // of an answer of a daemon that is looked at, in bytes
	maxHeader     = 64 << 10       // of its header
)

// How long a daemon may take: to be reached at all, to show that it is one, and
// to register a model, for which it reads and writes a few kilobytes.
const (
	dialTime     = time.Second
	helloTime    = 10 * time.Second
	registerTime = 30 * time.Second
)

// Daemon is an address at which a Docker Model Runner (DMR) may answer. Its
// API takes a model whose blobs lie in its store already, and then its own
// index is written by itself alone. Create one with [Daemons].
type Daemon struct {
	base   string // http://host:port and the prefix of the API
	socket string // path of a Unix socket to connect to instead of the host
	named  bool   // by the user: it should answer

	http *http.Client // tests; nil = one that reaches it alone
}

// Daemons lists where a DMR may answer: at MODEL_RUNNER_HOST and nowhere else
// if that is set; otherwise at the socket MODEL_RUNNER_SOCK, behind the socket
// of a Docker Desktop of this user, and at localhost:12434. Docker's contexts,
// DOCKER_HOST and MODEL_RUNNER_TLS are not read: most of what they lead to is
// another machine's DMR, or a container's, with a store of its own, and one on
// this store finds what is written there. getenv is the environment, HOME
// included.
func Daemons(getenv func(string) string) []Daemon {
	if host := strings.TrimSpace(getenv("MODEL_RUNNER_HOST")); host != "" {
		if !strings.Contains(host, "://") {
			host = "http://" + host
		}
		return []Daemon{{base: strings.TrimRight(host, "/"), named: true}}
	}
	var out []Daemon
	if socket := trimmed(getenv("MODEL_RUNNER_SOCK")); socket != "" {
		out = append(out, Daemon{base: "http://localhost", socket: socket, named: true})
	}
	if home := getenv("HOME"); home != "" {
		for _, dir := range []string{"run", "desktop"} { // on macOS, on Linux
			socket := filepath.Join(home, ".docker", dir, "docker.sock")
			out = append(out, Daemon{base: "http://localhost" + desktopPrefix, socket: socket})
		}
	}
	return append(out, Daemon{base: "http://localhost:12434"})
}

// String names the daemon in messages.
func (d Daemon) String() string {
	if d.socket != "" {
		return d.socket
	}
	return d.base
}

// offer has the first DMR that answers register a model whose blobs, config
// and manifest lie in the store. Whether it did is seen in models.json: a DMR
// that keeps its models elsewhere, or none, leaves that to us. So no answer is
// an error, only the end of ctx.
func (s *Store) offer(ctx context.Context, id digest.Digest, tag string, raw model.Raw, events bundle.EventFunc) error {
	if s.registered(id, tag) {
		return nil
	}
	for _, d := range s.Daemons {
		client := d.client()
		has, err := d.answers(ctx, client)
		found := err == nil
		if elsewhere := s.lacksAny(has); found && !elsewhere {
			err = d.take(ctx, client, id, tag, raw)
		}
		client.CloseIdleConnections()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case found && s.registered(id, tag):
			return nil
		case found && err == nil:
			err = errors.New("it keeps its models elsewhere")
		case !found && (!d.named || isNobody(err)):
			continue
		}
		why := fmt.Sprintf("the Docker Model Runner at %s did not register the model (%v); writing it into %s", d, err, s.dir)
		events.Emit(bundle.Event{Kind: bundle.EventNote, What: "model store", Reason: why})
		if found {
			return nil
		}
	}
	return nil
}

// lacksAny reports whether models.json does not name one of the models that a
// DMR lists: then it keeps them elsewhere, where nothing is to be changed.
func (s *Store) lacksAny(ids []string) bool {
	x, err := s.readIndex()
	return err == nil && slices.ContainsFunc(ids, func(id string) bool {
		return !slices.ContainsFunc(x.entries, func(e entry) bool { return e.ID.String() == id })
	})
}

// registered reports whether models.json has the model under the tag. What
// cannot be read is for others to complain about.
func (s *Store) registered(id digest.Digest, tag string) bool {
	x, err := s.readIndex()
	return err == nil && x.has(id, tag)
}

// isNobody reports whether an error says that nothing listens at an address.
func isNobody(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// client reaches d and nothing else: no proxy stands before a daemon, and no
// redirect is followed.
func (d Daemon) client() *http.Client {
	if d.http != nil {
		return d.http
	}
	dialer := &net.Dialer{Timeout: dialTime}
	dial := dialer.DialContext
	if d.socket != "" {
		dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", d.socket)
		}
	}
	return &http.Client{
		Transport:     &http.Transport{DialContext: dial, DisableCompression: true, MaxResponseHeaderBytes: maxHeader},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// answers tells a DMR, which lists its models, from whatever else listens, and
// returns the ids of those.
func (d Daemon) answers(ctx context.Context, client *http.Client) (ids []string, err error) {
	ctx, cancel := within(ctx, helloTime)
	defer cancel()
	body, err := d.ask(ctx, client, http.MethodGet, "/models", nil)
	if err != nil {
		return nil, err
	}
	var models []struct {
		ID string `json:"id"`
	}
	if json.Unmarshal(body, &models) != nil || !bytes.HasPrefix(bytes.TrimSpace(body), []byte("[")) {
		return nil, errors.New("it does not list models as a Docker Model Runner does")
	}
	for _, m := range models {
		ids = append(ids, m.ID)
	}
	return ids, nil
}

func within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, fmt.Errorf("no answer within %s", d))
}

// take sends the manifest and config of a model and tags it.
func (d Daemon) take(ctx context.Context, client *http.Client, id digest.Digest, tag string, raw model.Raw) error {
	ctx, cancel := within(ctx, registerTime)
	defer cancel()
	body, err := loadTar(raw)
	if err != nil {
		return err
	}
	said, err := d.ask(ctx, client, http.MethodPost, "/models/load", body)
	if err != nil {
		return err
	}
	if err := lateError(said); err != nil {
		return err
	}
	i := strings.LastIndexByte(tag, ':')
	query := url.Values{"repo": {tag[:i]}, "tag": {tag[i+1:]}}
	_, err = d.ask(ctx, client, http.MethodPost, "/models/"+id.String()+"/tag?"+query.Encode(), nil)
	return err
}

// loadTar is a model as /models/load takes it, without the layers, which are
// in place. The config has to be there: DMR does not look for it.
func loadTar(raw model.Raw) ([]byte, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range []struct {
		name string
		data []byte
	}{{"blobs/sha256/" + digest.FromBytes(raw.Config).Encoded(), raw.Config}, {"manifest.json", raw.Manifest}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: 0o644, Size: int64(len(f.data))}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.data); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

// lateError finds the error in the progress that a DMR reports, one JSON object
// a line: what goes wrong late comes as such a line, or as plain text, after
// a status that says that all is well.
func lateError(said []byte) error {
	for text := range bytes.Lines(said) {
		var line struct {
			Type    string `json:"type"`
			Message string `json:"message"`
		}
		switch text = bytes.TrimSpace(text); {
		case len(text) == 0:
		case json.Unmarshal(text, &line) != nil:
			return saying(string(text))
		case line.Type == "error":
			return saying(line.Message)
		}
	}
	return nil
}

// saying is what a daemon said, as an error of one line.
func saying(text string) error {
	const most = 200 // bytes; for a human
	return fmt.Errorf("it says %q", strings.TrimSpace(text[:min(len(text), most)]))
}

// ask makes one request and returns the beginning of the answer, as far as
// maxAnswer. An answer that is no success is an error with its first words.
func (d Daemon) ask(ctx context.Context, client *http.Client, method, path string, body []byte) (answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json") // else its progress is escaped for HTML
	if body != nil {
		req.Header.Set("Content-Type", "application/x-tar")
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, plain(ctx, err)
	}
	defer func() { err = errors.Join(err, resp.Body.Close()) }()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, plain(ctx, err)
	}
	if resp.StatusCode/100 != 2 {
		path, _, _ = strings.Cut(path, "?")
		return nil, fmt.Errorf("%s %s: %s: %w", method, path, resp.Status, saying(string(answer)))
	}
	return answer, nil
}

// plain is the error of a request without the address, which is named anyhow,
// or the reason why it was given up.
func plain(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if uerr, ok := errors.AsType[*url.Error](err); ok {
		return uerr.Err
	}
	return err
}
