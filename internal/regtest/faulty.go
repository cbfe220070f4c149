// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package regtest

import (
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Fault is what goes wrong with the requests it matches. One Fault does one or
// several of these things.
type Fault struct {
	Method string // "" = all
	Path   string // regular expression; "" = all
	Times  int    // how many requests; 0 = all

	Status      int         // answer this and nothing else
	Header      http.Header // with Status: e.g. Retry-After, Location, Www-Authenticate
	CutAfter    int64       // break the connection after so many bytes of body
	Truncate    int64       // end the body properly after so many bytes
	CorruptAt   int64       // flip a bit of the byte before this offset of the whole blob
	IgnoreRange bool        // answer 200 with everything
	Hang        bool        // answer nothing, or nothing after CutAfter, until the client gives up
	Hold        bool        // answer nothing until [Faulty.Heal], and then as if nothing had been
}

// Request is what a Faulty saw.
type Request struct {
	Method, Path, Query string
	Header              http.Header
}

// Faulty is a handler with scripted faults before another handler.
type Faulty struct {
	Next http.Handler

	mu       sync.Mutex
	faults   []*fault
	requests []Request
	healed   chan struct{} // closed by Heal
}

type fault struct {
	Fault
	path   *regexp.Regexp
	left   int
	healed chan struct{}
}

// Add adds a fault; the first one that matches a request and is not used up
// takes it.
func (f *Faulty) Add(x Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	left := x.Times
	if left == 0 {
		left = -1
	}
	if f.healed == nil {
		f.healed = make(chan struct{})
	}
	f.faults = append(f.faults, &fault{healed: f.healed, Fault: x, path: regexp.MustCompile(x.Path), left: left})
}

// Heal forgets all faults; requests that hang go on hanging.
func (f *Faulty) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
	if f.healed != nil {
		close(f.healed)
		f.healed = nil
	}
}

// Requests returns what was asked so far, in order, of one method ("" = all)
// and paths that contain part.
func (f *Faulty) Requests(method, part string) []Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(f.requests), func(r Request) bool {
		return (method != "" && r.Method != method) || !strings.Contains(r.Path, part)
	})
}

// ServeHTTP implements http.Handler.
func (f *Faulty) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := f.take(r)
	switch {
	case x == nil:
		f.Next.ServeHTTP(w, r)
		return
	case x.Hold:
		select {
		case <-x.healed:
		case <-r.Context().Done():
			return
		}
	case x.Hang && x.CutAfter == 0:
		// net/http sees that a client left only once the body is read.
		_, _ = io.Copy(io.Discard, r.Body) // ends early when the client leaves
		<-r.Context().Done()
		return
	case x.Status != 0:
		for k, v := range x.Header {
			w.Header()[http.CanonicalHeaderKey(k)] = v
		}
		w.WriteHeader(x.Status)
		return
	case x.IgnoreRange:
		r = r.Clone(r.Context())
		r.Header.Del("Range")
	}
	f.Next.ServeHTTP(&spoiler{ResponseWriter: w, fault: x.Fault, left: r.Context().Done()}, r)
}

// take records a request and returns the fault that is its lot, if any.
func (f *Faulty) take(r *http.Request) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, Request{Method: r.Method, Path: r.URL.Path, Query: r.URL.RawQuery, Header: r.Header.Clone()})
	for _, x := range f.faults {
		if x.left != 0 && (x.Method == "" || x.Method == r.Method) && x.path.MatchString(r.URL.Path) {
			x.left--
			return x
		}
	}
	return nil
}

// spoiler is a ResponseWriter that cuts, truncates or corrupts a body.
type spoiler struct {
	http.ResponseWriter
	fault   Fault
	left    <-chan struct{} // the client gave up
	started bool
	start   int64 // offset of the body in the blob
	written int64
}

// WriteHeader implements http.ResponseWriter.
func (s *spoiler) WriteHeader(status int) {
	s.started = true
	if rng, ok := strings.CutPrefix(s.Header().Get("Content-Range"), "bytes "); ok {
		first, _, _ := strings.Cut(rng, "-")
		s.start, _ = strconv.ParseInt(first, 10, 64) // 0 is right for anything else
	}
	if s.fault.Truncate > 0 {
		s.Header().Set("Content-Length", strconv.FormatInt(s.fault.Truncate, 10))
	}
	s.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (s *spoiler) Write(p []byte) (int, error) {
	if !s.started {
		s.WriteHeader(http.StatusOK)
	}
	n := len(p)
	if at := s.fault.CorruptAt - 1 - s.start - s.written; s.fault.CorruptAt > 0 && at >= 0 && at < int64(n) {
		p = slices.Clone(p)
		p[at] ^= 1
	}
	limit := max(s.fault.CutAfter, s.fault.Truncate)
	if limit > 0 {
		p = p[:max(0, min(int64(n), limit-s.written))]
	}
	s.written += int64(n)
	if _, err := s.ResponseWriter.Write(p); err != nil {
		return 0, err
	}
	if s.fault.CutAfter > 0 && s.written >= limit {
		if f, ok := s.ResponseWriter.(http.Flusher); ok {
			f.Flush()
		}
		if s.fault.Hang {
			<-s.left
		}
		panic(http.ErrAbortHandler) // net/http breaks the connection
	}
	return n, nil
}
