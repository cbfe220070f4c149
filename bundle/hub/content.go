// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"crypto/sha1" //nolint:gosec // git names its objects by it
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// MaxSmall is the default cap on a file that is read whole, in bytes. The hub
// keeps larger ones in LFS, but a tokenizer there is small enough too.
const MaxSmall = 64 << 20

func isExpired(err error) bool { return errors.Is(err, errExpired) }

func asRefusal(err error) *refusal {
	r, _ := errors.AsType[*refusal](err)
	return r
}

// resolve makes one request for a file, through the hub to wherever the bytes
// lie.
func (r *Repo) resolve(ctx context.Context, f File, offset, end int64, ranged bool) (io.ReadCloser, error) {
	v := visit{file: f, commit: r.commit}
	j := journey{via: r.s.content, header: http.Header{}, abroad: true, meet: v.meet}
	if ranged {
		j.header.Set("Range", fmt.Sprintf("bytes=%d-%d", offset, end-1))
	}
	body, err := r.s.follow(ctx, r.s.base+"/"+r.name+"/resolve/"+r.commit+"/"+escape(f.Path), j)
	if err != nil {
		return nil, err
	}
	resp := body.Response
	switch code := resp.StatusCode; {
	case code == http.StatusOK, code == http.StatusPartialContent && ranged:
		err = v.check()
	case (code == http.StatusForbidden || code == http.StatusUnauthorized) && !r.s.isHome(resp.Request.URL):
		err = errExpired
	default:
		err = refused(resp)
	}
	if err != nil {
		body.Drop()
		return nil, err
	}
	if err := httpstream.Begin(body, f.Size, offset); err != nil {
		return nil, errors.Join(err, body.Close())
	}
	if end < f.Size { // a server without ranges sends it all
		return limited{io.LimitReader(body, end-offset), body}, nil
	}
	return body, nil
}

// limited is a body of which only the beginning is wanted.
type limited struct {
	io.Reader
	io.Closer
}

// visit compares what the hub says of a file with what the tree of the commit
// says.
type visit struct {
	file   File
	commit string
	named  bool // the hub has named the commit
}

// meet looks at one answer of the hub itself.
func (v *visit) meet(resp *http.Response) error {
	h := resp.Header
	changed := func(what, got, want string) error {
		return fmt.Errorf("the hub now says %s %.80q, its list says %s: %w", what, got, want, bundle.ErrMismatch)
	}
	if c := h.Get("X-Repo-Commit"); c != "" {
		if c != v.commit {
			return changed("commit", c, v.commit)
		}
		v.named = true
	}
	if n := h.Get("X-Linked-Size"); n != "" && n != strconv.FormatInt(v.file.Size, 10) {
		return changed("size", n, strconv.FormatInt(v.file.Size, 10))
	}
	linked := etag(h.Get("X-Linked-Etag"))
	switch own := etag(h.Get("Etag")); {
	case v.file.SHA256 != "" && isSHA256.MatchString(linked) && linked != v.file.SHA256:
		return changed("sha256", linked, v.file.SHA256)
	case v.file.GitID != "" && isSHA256.MatchString(linked):
		return changed("sha256", linked, "git id "+v.file.GitID)
	case v.file.GitID != "" && linked == "" && !isRedirect(resp) && isCommit.MatchString(own) && own != v.file.GitID:
		return changed("git id", own, v.file.GitID)
	}
	return nil
}

// check reports whether content may be believed to be of the commit.
func (v *visit) check() error {
	if !v.named {
		return fmt.Errorf("the answer names no commit (X-Repo-Commit): not a hub: %w", bundle.ErrInvalid)
	}
	return nil
}

// etag is the value of an ETag header.
func etag(s string) string { return strings.Trim(strings.TrimPrefix(s, "W/"), `"`) }

// readSmall reads and verifies a file of at most limit bytes.
func readSmall(f File, limit int64, open func() (io.ReadCloser, error)) (_ []byte, err error) {
	if limit <= 0 {
		limit = MaxSmall
	}
	if f.Size > limit {
		return nil, fmt.Errorf("%d bytes, more than %d: %w", f.Size, limit, bundle.ErrInvalid)
	}
	rc, err := open()
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }() // it was only read
	if f.SHA256 != "" {
		return bundle.ReadVerified(rc, bundle.Descriptor{Digest: digest.Digest(digestOf(f)), Size: f.Size})
	}
	data, err := io.ReadAll(io.LimitReader(rc, f.Size+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) != f.Size:
		return nil, fmt.Errorf("not the %d bytes that the list says: %w", f.Size, bundle.ErrMismatch)
	case f.GitID != "" && gitID(data) != f.GitID:
		return nil, fmt.Errorf("git id %s, its list says %s: %w", gitID(data), f.GitID, bundle.ErrMismatch)
	}
	return data, nil
}

// gitID is the name that git gives to a file of this content.
func gitID(data []byte) string {
	h := sha1.New() //nolint:gosec // git's choice
	h.Write(fmt.Appendf(nil, "blob %d\x00", len(data)))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}
