// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote_test

import (
	"fmt"
	"io"
	"net/http"
	goruntime "runtime"
	"strings"
	"sync/atomic"
	"testing"

	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/remote"
	"github.com/metalpack/metalpack/internal/regtest"
)

// TestChallenges (HOSTILE N4, N2): several challenges, or one in an odd spelling,
// say no more than one: where any of them points to the user's own network,
// nothing is sent anywhere.
func TestChallenges(t *testing.T) {
	t.Parallel()
	const host, good, bad = "203.0.113.7", "https://198.51.100.9/token", "https://10.0.0.8/token"
	for what, challenges := range map[string][]string{
		"two headers":       {`Bearer realm="` + good + `"`, `Bearer realm="` + bad + `"`},
		"the other way":     {`Bearer realm="` + bad + `"`, `Bearer realm="` + good + `"`},
		"two in one header": {`Bearer realm="` + good + `", Bearer realm="` + bad + `"`},
		"basic first":       {`Basic realm="x"`, `Bearer realm="` + bad + `"`},
		"realm twice":       {`Bearer realm="` + good + `",realm="` + bad + `"`},
		"odd spelling":      {"bEaReR \t service=x , REALM = \"" + bad + `"`, `Bearer realm="` + bad + `"`},
		"escaped":           {`Bearer realm="https:\/\/10.0.0.8/token"`},
		"escaped in hex":    {`Bearer realm="https://\x31\x30.0.0.8/token"`},
		"hidden in another": {`Bearer service="realm=\"` + good + `\"",realm="` + bad + `"`},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			store := credentials.NewMemoryStore()
			if err := store.Put(t.Context(), host, auth.Credential{Username: "user", Password: "secret"}); err != nil {
				t.Fatal(err)
			}
			var elsewhere atomic.Int32
			r, _ := open(t, host, remote.Options{Credentials: store, Retries: -1, Client: &http.Client{Transport: answers{http.StatusUnauthorized, func(req *http.Request) http.Header {
				if req.URL.Host != host {
					elsewhere.Add(1)
				}
				return http.Header{"Www-Authenticate": challenges}
			}}}})
			if _, err := r.Resolve(t.Context(), "v1"); err == nil || elsewhere.Load() != 0 {
				t.Errorf("%d requests elsewhere: %v", elsewhere.Load(), err)
			}
		})
	}
}

// answers says the same to every request, with the header that it makes.
type answers struct {
	status int
	header func(*http.Request) http.Header
}

func (a answers) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header(req), Body: http.NoBody, Request: req,
	}, nil
}

// TestTokenServers (HOSTILE N4): what a token server says is read up to a cap and
// never becomes a header of its own.
func TestTokenServers(t *testing.T) { //nolint:paralleltest // it counts what the whole program allocates
	piece := []byte(strings.Repeat("x", 1<<20))
	for what, c := range map[string]struct {
		grant http.HandlerFunc
		want  string
	}{
		"endless token": {func(w http.ResponseWriter, _ *http.Request) {
			_, err := io.WriteString(w, `{"token":"`)
			for range 1 << 10 { // 1 GB, if one reads it
				if err != nil {
					return
				}
				_, err = w.Write(piece)
			}
		}, "unexpected EOF"},
		"endless header": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Long", string(piece))
			_, _ = io.WriteString(w, `{"token":"good"}`)
		}, "server response headers exceeded"},
		"CR LF": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"token":"good\r\nX-Evil: 1"}`)
		}, "invalid header field value"},
		"no token": {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{}`) }, "empty token"},
	} {
		t.Run(what, func(t *testing.T) {
			r, _ := open(t, guarded(t, "good", c.grant), remote.Options{Retries: -1})
			var before, after goruntime.MemStats
			goruntime.ReadMemStats(&before)
			_, err := r.Resolve(t.Context(), "v1")
			goruntime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 1000 {
				t.Errorf("%.300v, want %q", err, c.want)
			}
			if used := (after.TotalAlloc - before.TotalAlloc) >> 20; used > 64 {
				t.Errorf("%d MB of memory", used)
			}
		})
	}
}

// TestLongHeader (HOSTILE N4): the registry itself, before any token.
func TestLongHeader(t *testing.T) {
	t.Parallel()
	host := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Www-Authenticate", `Bearer realm="http://127.0.0.1/token",service="`+strings.Repeat("x", 1<<20)+`"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	r, _ := open(t, host, remote.Options{Retries: -1})
	if _, err := r.Resolve(t.Context(), "v1"); err == nil || !strings.Contains(err.Error(), "headers exceeded") || len(err.Error()) > 1000 {
		t.Errorf("%.300v", err)
	}
}

// TestExactHost (HOSTILE N7): a login is for the host that it names, not for one
// that begins or ends like it, nor for another port of it.
func TestExactHost(t *testing.T) {
	var sent atomic.Value
	client := &http.Client{Transport: answers{http.StatusUnauthorized, func(req *http.Request) http.Header {
		if a := req.Header.Get("Authorization"); a != "" {
			sent.Store(req.URL.Host)
		}
		return http.Header{"Www-Authenticate": {`Basic realm="x"`}}
	}}}
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	var auths []string
	for _, host := range []string{"r.example", "r.example:5000", "https://index.docker.io/v1/", "docker.io", "registry-1.docker.io"} {
		auths = append(auths, fmt.Sprintf(`%q:{"auth":"dXNlcjpzZWNyZXQ="}`, host))
	}
	writeConfig(t, `{"auths":{`+strings.Join(auths, ",")+`}}`)
	for host, its := range map[string]bool{
		"r.example": true, "r.example:5000": true, "r.example:443": false, "r.example:5001": false,
		"r.example.evil.test": false, "evil-r.example": false, "sub.r.example": false, "example": false,
		"docker.io.evil.test": false, "index.docker.io.evil.test": false, "xdocker.io": false,
	} {
		sent.Store("")
		r, err := remote.Open(reference(t, host), remote.Options{Client: client, Retries: -1})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Resolve(t.Context(), "v1")
		if got := sent.Load() == host; err == nil || got != its {
			t.Errorf("%s: the login was sent: %v, want %v (%v)", host, got, its, err)
		}
	}
}

// TestRedirectsRefused (HOSTILE N5): to a file, to what is no web, out of TLS.
func TestRedirectsRefused(t *testing.T) {
	t.Parallel()
	data := []byte("x")
	for _, to := range []string{"file:///etc/passwd", "ftp://198.51.100.9/x", "gopher://198.51.100.9/x", "http://198.51.100.9/x", "http://203.0.113.7/x"} {
		var asked atomic.Int32
		client := &http.Client{Transport: answers{http.StatusTemporaryRedirect, func(req *http.Request) http.Header {
			if asked.Add(1); req.URL.Host != "203.0.113.7" || req.URL.Scheme != "https" {
				t.Errorf("asked %s", req.URL)
			}
			return http.Header{"Location": {to}}
		}}}
		r, _ := open(t, "203.0.113.7", remote.Options{Client: client, Retries: -1})
		rc, err := r.Open(t.Context(), bundle.DescriptorOf(bundle.MediaTypeLayerGzip, data), 0)
		if err == nil {
			_ = rc.Close()
		}
		if err == nil || !strings.Contains(err.Error(), "redirect refused") || asked.Load() != 1 {
			t.Errorf("%s: %d requests: %v", to, asked.Load(), err)
		}
	}
}

// TestChallengeElsewhere (HOSTILE N5): storage that a blob lies in asks for a
// login, and names its own token server: the login is for the registry.
func TestChallengeElsewhere(t *testing.T) {
	t.Parallel()
	for _, scheme := range []string{"Basic", "Bearer"} {
		var leaked atomic.Int32
		var storage string
		storage = regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "" {
				leaked.Add(1)
			}
			if r.URL.Path == "/token" {
				_, _ = io.WriteString(w, `{"token":"good"}`)
				return
			}
			w.Header().Set("Www-Authenticate", scheme+` realm="http://`+storage+`/token",service="x"`)
			w.WriteHeader(http.StatusUnauthorized)
		}))
		host := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://"+storage+"/blob", http.StatusTemporaryRedirect)
		}))
		store := credentials.NewMemoryStore()
		if err := store.Put(t.Context(), host, auth.Credential{Username: "user", Password: "secret"}); err != nil {
			t.Fatal(err)
		}
		r, _ := open(t, host, remote.Options{Credentials: store, Retries: -1})
		rc, err := r.Open(t.Context(), bundle.DescriptorOf(bundle.MediaTypeLayerGzip, []byte("x")), 0)
		if err == nil {
			_ = rc.Close()
		}
		if err == nil || leaked.Load() != 0 {
			t.Errorf("%s: %d logins at the storage: %v", scheme, leaked.Load(), err)
		}
	}
}
