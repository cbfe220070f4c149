// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasremote "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// anyManifest is what is accepted under a name. A registry may convert what it has
// for whoever accepts less, and what Docker has under a name should be told from
// what is not there.
var anyManifest = strings.Join([]string{
	ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex,
	"application/vnd.docker.distribution.manifest.v2+json", "application/vnd.docker.distribution.manifest.list.v2+json",
}, ", ")

// errNoHead says that a registry does not answer HEAD as it should; a GET may
// tell the same.
var errNoHead = errors.New("no usable answer to HEAD")

// Resolve implements [bundle.Source] by a HEAD request, which no registry
// counts as a pull, or by a GET where HEAD is not served. Errors:
// [bundle.ErrNotFound], [bundle.ErrUnauthorized], [bundle.ErrUnreachable],
// [bundle.ErrInvalid] if the answer is no usable descriptor.
func (r *Repository) Resolve(ctx context.Context, name string) (bundle.Descriptor, error) {
	what := "tag " + name
	if strings.Contains(name, ":") {
		what = "manifest " + name
	}
	desc, err := r.resolve(ctx, name)
	if err == nil {
		err = checkManifest(desc)
	}
	if err != nil {
		return bundle.Descriptor{}, r.fail(ctx, what, err)
	}
	return desc, nil
}

func (r *Repository) resolve(ctx context.Context, name string) (bundle.Descriptor, error) {
	if err := r.checkName(name); err != nil {
		return bundle.Descriptor{}, err
	}
	header, size, err := r.head(ctx, r.api, "/manifests/"+name)
	if errors.Is(err, errNoHead) {
		return r.resolveByGet(ctx, name)
	}
	if err != nil {
		return bundle.Descriptor{}, err
	}
	if err := r.notPage(header); err != nil {
		return bundle.Descriptor{}, err
	}
	desc := bundle.Descriptor{MediaType: mediaType(header), Digest: digest.Digest(header.Get("Docker-Content-Digest")), Size: size}
	if desc.Digest == "" || desc.Size < 0 {
		return r.resolveByGet(ctx, name)
	}
	return desc, is(desc, name)
}

// checkName reports whether a name can be part of an address.
func (r *Repository) checkName(name string) error {
	ref := r.ref
	ref.Reference = name
	if err := ref.ValidateReference(); err != nil {
		return fmt.Errorf("%w: %w", err, bundle.ErrInvalid)
	}
	return nil
}

// is reports whether a registry answers with the manifest whose digest was
// asked for.
func is(desc bundle.Descriptor, name string) error {
	if strings.Contains(name, ":") && desc.Digest.String() != name {
		return fmt.Errorf("the registry answers with %.100q: %w", desc.Digest, bundle.ErrMismatch)
	}
	return nil
}

// resolveByGet reads the manifest itself.
func (r *Repository) resolveByGet(ctx context.Context, name string) (bundle.Descriptor, error) {
	w, err := r.get(ctx, r.api, "/manifests/"+name, http.Header{"Accept": {anyManifest}})
	if err != nil {
		return bundle.Descriptor{}, err
	}
	data, err := io.ReadAll(io.LimitReader(w, bundle.MaxManifest+1)) // checkManifest refuses one more byte
	if err := errors.Join(err, w.Close()); err != nil {
		return bundle.Descriptor{}, err
	}
	if err := r.notPage(w.Response.Header); err != nil {
		return bundle.Descriptor{}, err
	}
	desc := bundle.DescriptorOf(mediaType(w.Response.Header), data)
	return desc, is(desc, name)
}

// notPage refuses the page of a web site, which a mistyped host may be, or of the
// portal of a network that wants a login.
func (r *Repository) notPage(h http.Header) error {
	if mediaType(h) == "text/html" {
		return fmt.Errorf("%s answers with a web page: no registry, or a portal where this network wants a login: %w", r.ref.Host(), bundle.ErrInvalid)
	}
	return nil
}

// mediaType is what an answer says of its content; "" if it says nothing.
func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// head asks about a path below the repository. Errors: errNoHead,
// [bundle.ErrNotFound], another refusal, no answer.
func (r *Repository) head(ctx context.Context, via *orasremote.Repository, path string) (h http.Header, size int64, err error) {
	ctx = auth.AppendRepositoryScope(ctx, r.ref, auth.ActionPull)
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, r.base+path, http.NoBody)
	if err != nil {
		return nil, 0, err
	}
	if strings.HasPrefix(path, "/manifests/") {
		req.Header.Set("Accept", anyManifest)
	}
	resp, err := via.Client.Do(req) //nolint:bodyclose // Drain closes it
	if err != nil {
		return nil, 0, err
	}
	defer httpstream.Drain(resp.Body)
	switch resp.StatusCode {
	case http.StatusOK:
		return resp.Header, resp.ContentLength, nil
	case http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return nil, 0, errNoHead
	case http.StatusNotFound:
		return nil, 0, bundle.ErrNotFound
	}
	return nil, 0, refusal(resp, http.NoBody)
}

// Exists implements [bundle.Target] by a HEAD request; what a registry that does
// not serve HEAD has is not known, and counts as nothing. Errors:
// [bundle.ErrUnauthorized], [bundle.ErrUnreachable].
func (r *Repository) Exists(ctx context.Context, desc bundle.Descriptor) (bool, error) {
	path := "/blobs/" + desc.Digest.String()
	if bundle.IsManifest(desc.MediaType) {
		path = "/manifests/" + desc.Digest.String()
	}
	_, _, err := r.head(ctx, r.api, path)
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, errNoHead), errors.Is(err, bundle.ErrNotFound):
		return false, nil
	}
	return false, r.fail(ctx, bundle.Label(desc), err)
}
