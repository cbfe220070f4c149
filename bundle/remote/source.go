// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/errdef"
	orasremote "oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/errcode"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/httpstream"
)

// maxErrorBody bounds how much of a registry's explanation is read.
const maxErrorBody = 16 << 10

// checkManifest reports whether a manifest may be read whole.
func checkManifest(desc bundle.Descriptor) error {
	if err := bundle.CheckDescriptor(desc); err != nil {
		return err
	}
	if desc.Size > bundle.MaxManifest {
		return fmt.Errorf("%d bytes, more than %d: %w", desc.Size, bundle.MaxManifest, bundle.ErrInvalid)
	}
	return nil
}

// Manifest implements [bundle.Source]. Errors: [bundle.ErrNotFound],
// [bundle.ErrMismatch], [bundle.ErrUnauthorized], [bundle.ErrUnreachable],
// [bundle.ErrInvalid] if desc is larger than [bundle.MaxManifest].
func (r *Repository) Manifest(ctx context.Context, desc bundle.Descriptor) ([]byte, error) {
	what := "manifest " + desc.Digest.String()
	if err := checkManifest(desc); err != nil {
		return nil, r.fail(ctx, what, err)
	}
	var data []byte
	fetch := func() error {
		header := http.Header{"Accept": {desc.MediaType}}
		w, err := r.get(ctx, r.api, "/manifests/"+desc.Digest.String(), header)
		if err != nil {
			return err
		}
		data, err = bundle.ReadVerified(w, desc)
		return errors.Join(err, w.Close())
	}
	for attempt := 1; ; attempt++ {
		err := fetch()
		if err == nil {
			return data, nil
		}
		if attempt > r.opts.Retries || !httpstream.Cut(err) || ctx.Err() != nil {
			return nil, r.fail(ctx, what, err)
		}
		r.opts.Events.Emit(bundle.Event{Kind: bundle.EventRetry, What: what, Digest: desc.Digest.String(), Size: desc.Size, Attempt: attempt + 1, Reason: httpstream.RootCause(err).Error()})
		if err := r.opts.Wait(ctx, httpstream.Backoff(attempt)); err != nil {
			return nil, r.fail(ctx, what, err)
		}
	}
}

// Referrers implements [bundle.Source]: by the referrers API, or by the
// fallback tag where a registry has none. Errors: [bundle.ErrUnauthorized],
// [bundle.ErrUnreachable], [bundle.ErrInvalid] if there are too many or a page of
// them has more than [maxList] bytes.
func (r *Repository) Referrers(ctx context.Context, desc bundle.Descriptor) ([]bundle.Descriptor, error) {
	var all []bundle.Descriptor
	err := r.lists.Referrers(ctx, desc, "", func(page []ocispec.Descriptor) error {
		if len(all)+len(page) > maxReferrers {
			return fmt.Errorf("more than %d: %w", maxReferrers, bundle.ErrInvalid)
		}
		all = append(all, page...)
		return nil
	})
	return all, r.fail(ctx, "referrers of "+desc.Digest.String(), err)
}

// Tags lists the repository's tags in the order of the registry, which sorts
// them: at most about [maxTags]. Errors: [bundle.ErrNotFound] if there is no such
// repository, [bundle.ErrUnauthorized], [bundle.ErrUnreachable],
// [bundle.ErrInvalid] if a page of them has more than [maxList] bytes.
func (r *Repository) Tags(ctx context.Context) ([]string, error) {
	var all []string
	err := r.lists.Tags(ctx, "", func(page []string) error {
		if all = append(all, page...); len(all) >= maxTags {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return all, r.fail(ctx, "tags", err)
}

var errEnough = errors.New("enough")

// pager is a client whose answers end at [maxList] bytes with an error of their
// own; cut there by the library they look like a connection that broke.
type pager struct{ orasremote.Client }

// Do implements [orasremote.Client].
func (p pager) Do(req *http.Request) (*http.Response, error) {
	resp, err := p.Client.Do(req)
	if err == nil {
		resp.Body = http.MaxBytesReader(nil, resp.Body, maxList)
	}
	return resp, err
}

// overlong reports whether err is that of a page larger than [maxList], or of the
// index behind a fallback tag, whose size the library compares by itself.
func overlong(err error) bool {
	_, ok := errors.AsType[*http.MaxBytesError](err)
	return ok || errors.Is(err, errdef.ErrSizeExceedsLimit)
}

// get sends one GET below the repository and returns the watched body of a
// 200 or 206; any other answer is an error.
func (r *Repository) get(ctx context.Context, via *orasremote.Repository, path string, header http.Header) (*httpstream.Body, error) {
	ctx = auth.AppendRepositoryScope(ctx, r.ref, auth.ActionPull)
	body, err := httpstream.Get(ctx, via.Client, r.base+path, header, r.opts.StallTimeout)
	if err != nil {
		return nil, err
	}
	if code := body.Response.StatusCode; code != http.StatusOK && code != http.StatusPartialContent {
		defer body.Drop()
		return nil, refusal(body.Response, body)
	}
	return body, nil
}

// refusal reads a registry's explanation in the body of an answer.
func refusal(resp *http.Response, explanation io.Reader) error {
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	data, err := io.ReadAll(io.LimitReader(explanation, maxErrorBody))
	if err == nil {
		_ = json.Unmarshal(data, &body) // gateways answer in HTML; the status says enough
	}
	answer := &errcode.ErrorResponse{Method: resp.Request.Method, URL: resp.Request.URL, StatusCode: resp.StatusCode, Errors: body.Errors}
	if id := httpstream.RequestID(resp); id != "" {
		return &identified{answer, id}
	}
	return answer
}
