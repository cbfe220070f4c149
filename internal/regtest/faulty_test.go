// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package regtest_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/metalpack/metalpack/internal/regtest"
)

// A request that hangs ends with its client, with or without a body: the test
// hangs at its end if it does not.
func TestHang(t *testing.T) {
	t.Parallel()
	for _, method := range []string{http.MethodGet, http.MethodPut} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			arrived, left := make(chan struct{}), make(chan struct{})
			f := &regtest.Faulty{Next: http.NotFoundHandler()}
			f.Add(regtest.Fault{Hang: true})
			host := regtest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				close(arrived)
				f.ServeHTTP(w, r)
				close(left)
			}))
			ctx, cancel := context.WithCancel(t.Context())
			go func() {
				<-arrived
				cancel()
			}()
			req, err := http.NewRequestWithContext(ctx, method, "http://"+host+"/v2/", strings.NewReader(strings.Repeat("x", 1<<20)))
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err == nil {
				_ = res.Body.Close() // nothing was to come
			}
			if !errors.Is(err, context.Canceled) {
				t.Errorf("got %v, want Canceled", err)
			}
			<-left
		})
	}
}
