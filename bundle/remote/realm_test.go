// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
)

// scripted answers for one registry and counts what goes anywhere else.
type scripted struct {
	host, challenge string
	elsewhere       atomic.Int32
}

func (s *scripted) RoundTrip(req *http.Request) (*http.Response, error) {
	h := http.Header{}
	if req.URL.Host == s.host {
		h.Set("Www-Authenticate", s.challenge)
	} else {
		s.elsewhere.Add(1)
	}
	return &http.Response{
		Status: "401 Unauthorized", StatusCode: http.StatusUnauthorized, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: h, Body: http.NoBody, Request: req,
	}, nil
}

// TestRealm: a registry on the open network cannot send logins into the
// user's own (HOSTILE N1, N2).
func TestRealm(t *testing.T) {
	t.Parallel()
	const public, private = "203.0.113.7", "10.1.2.3:5000"
	for i, c := range []struct {
		host, realm string
		allow       string
		asked       bool
	}{
		{public, "https://198.51.100.9/token", "", true},
		{public, "https://203.0.113.7/token", "", true},
		{public, "http://198.51.100.9/token", "", false},
		{public, "https://127.0.0.1/token", "", false},
		{public, "https://[::1]/token", "", false},
		{public, "https://[::ffff:127.0.0.1]/token", "", false},
		{public, "https://169.254.169.254/latest", "", false},
		{public, "https://[64:ff9b::a00:8]/token", "", false},
		{public, "https://[2002:a00:8::1]/token", "", false},
		{public, "https://[64:ff9b::7f00:1]/token", "10.0.0.8", false},
		{public, "https://[fd00::8]/token", "", false},
		{public, "https://[fe80::1%25eth0]/token", "", false},
		{public, "https://[::]/token", "", false},
		{public, "https://localhost/token", "", false},
		{public, "https://localhost./token", "", false},
		{public, "https://10.0.0.8/token", "", false},
		{public, "https://192.168.1.1/token", "", false},
		{public, "https://2130706433/token", "", false},
		{public, "https://0x7f.1/token", "", false},
		{public, "https://user:x@198.51.100.9/token", "", false},
		{public, "file:///etc/passwd", "", false},
		{public, "https://10.0.0.8/token", "10.0.0.8", true},
		{public, "https://10.0.0.9/token", "10.0.0.8", false},
		{public, "https://127.0.0.1/token", "127.0.0.1", true},
		{private, "https://10.9.9.9/token", "", true},
		{private, "https://192.168.1.1/token", "", false},
	} {
		t.Run(fmt.Sprint(i, " ", c.realm), func(t *testing.T) {
			t.Parallel()
			store := credentials.NewMemoryStore()
			if err := store.Put(t.Context(), c.host, auth.Credential{Username: "user", Password: "secret"}); err != nil {
				t.Fatal(err)
			}
			s := &scripted{host: c.host, challenge: `Bearer realm="` + c.realm + `",service="x"`}
			o := remote.Options{Client: &http.Client{Transport: s}, Credentials: store, Retries: -1}
			if c.allow != "" {
				o.AllowRealms = []string{c.allow}
			}
			r, _ := open(t, c.host, o)
			_, err := r.Resolve(t.Context(), "v1")
			realm, refused := errors.AsType[*remote.RealmError](err)
			if refused && realm.Allow != "" && !strings.HasSuffix(realm.Hint(), "--allow-realm "+realm.Allow) {
				t.Errorf("hint %q", realm.Hint())
			}
			sameHost := strings.Contains(c.realm, c.host)
			if refused == c.asked || (s.elsewhere.Load() > 0) != (c.asked && !sameHost) {
				t.Errorf("refused %v, %d requests elsewhere: %v", refused, s.elsewhere.Load(), err)
			}
			if refused && (!errors.Is(err, bundle.ErrInvalid) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("%v", err)
			}
		})
	}
}

// TestUploadElsewhere: an upload does not go on at another host (HOSTILE N6).
func TestUploadElsewhere(t *testing.T) {
	t.Parallel()
	data := []byte("secret weights")
	for what, status := range map[string]int{"location": http.StatusAccepted, "redirect": http.StatusTemporaryRedirect} {
		s := &elsewhere{status: status}
		r, _ := open(t, "203.0.113.7", remote.Options{Client: &http.Client{Transport: s}, Retries: -1})
		err := r.Push(t.Context(), bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data), bundle.BytesOpener(data))
		_, ierr := r.Ingest(t.Context(), "file", int64(len(data)), bundle.BytesOpener(data))
		if err == nil || ierr == nil || s.bytes.Load() != 0 {
			t.Errorf("%s: %d uploads elsewhere: %v, %v", what, s.bytes.Load(), err, ierr)
		}
	}
}

// elsewhere accepts uploads, to be continued on another host, or sends them there
// from the start.
type elsewhere struct {
	status int
	bytes  atomic.Int32
}

func (s *elsewhere) RoundTrip(req *http.Request) (*http.Response, error) {
	status := s.status
	if req.URL.Host != "203.0.113.7" {
		status = http.StatusAccepted
		if req.ContentLength > 0 {
			s.bytes.Add(1)
		}
	}
	return &http.Response{
		Status: http.StatusText(status), StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Location": {"https://198.51.100.9/upload"}}, Body: http.NoBody, Request: req,
	}, nil
}
