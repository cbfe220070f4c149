// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package registry

import (
	"net/http"
	"strings"

	"github.com/klauspost/readahead"
)

// How far the body of an upload is read ahead: pieces of so many bytes, which
// are then written to the disk at once.
const (
	pieces    = 4
	pieceSize = 256 << 10
)

// readAhead lets the body of an upload arrive while what came before is
// written and hashed. The handlers do one after the other, 32 KiB at a time,
// and that is what bounds a registry on the client's own machine.
func readAhead(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if (r.Method == http.MethodPut || r.Method == http.MethodPatch) && strings.Contains(r.URL.Path, "/blobs/uploads/") && r.ContentLength != 0 {
			body, err := readahead.NewReadCloserSize(r.Body, pieces, pieceSize)
			if err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
			defer func() { _ = body.Close() }() // it was only read; nobody reads when the handler has returned
			ahead := *r
			ahead.Body = body
			r = &ahead
		}
		next.ServeHTTP(w, r)
	})
}
