// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/transports"
	"github.com/metalpack/metalpack/internal/ui"
)

// What is known of a destination.
const (
	destThere   = "there"   // it has an artifact of that name
	destNew     = "new"     // it has none
	destUnknown = "unknown" // it could not be asked
)

// plannedDest is what a dry run finds at the destination, which nothing is
// written to.
type plannedDest struct {
	Reference string `json:"reference"`
	State     string `json:"state"`            // there, new, unknown
	Reason    string `json:"reason,omitempty"` // why it is unknown
	Digest    string `json:"digest,omitempty"` // of what has that name now
	There     int    `json:"there"`            // blobs of layers that it has
	ThereSize int64  `json:"thereSize"`
	Send      int    `json:"send"` // that are in the cache, and must be sent
	SendSize  int64  `json:"sendSize"`
	Build     int    `json:"build"` // that must be built before anybody knows their size
}

// unreached reports whether an error says that somebody cannot be asked now:
// no reason for a dry run to end, because the real one may come at a better
// time.
func unreached(err error) bool {
	for _, sentinel := range []error{bundle.ErrUnreachable, bundle.ErrUnavailable, bundle.ErrUnauthorized} {
		if errors.Is(err, sentinel) {
			return true
		}
	}
	return false
}

// patience is how long a dry run waits for the first answer of a registry. What
// moves bytes tries for longer.
const patience = 15 * time.Second

// answered lets ask take so long and no longer; then the error names who was
// asked and wraps [bundle.ErrUnreachable].
func answered(ctx context.Context, limit time.Duration, who string, ask func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := ask(limited)
	if err != nil && limited.Err() != nil && ctx.Err() == nil {
		return fmt.Errorf("%s: no answer within %s: %w", who, limit, bundle.ErrUnreachable)
	}
	return err
}

// planDest looks at the destination: what it has of the layers in blobs.
func (a *app) planDest(ctx context.Context, ref bundle.Reference, blobs []bundle.Descriptor) (out *plannedDest, err error) {
	if ref.Name() == "" {
		ref.Tag = "latest"
	}
	out = &plannedDest{Reference: ref.String(), State: destNew}
	defer func() {
		if unreached(err) && ctx.Err() == nil {
			out, err = &plannedDest{Reference: ref.String(), State: destUnknown, Reason: err.Error()}, nil
		}
	}()
	src, closeSource, err := transports.OpenSource(ref, a.remote())
	if errors.Is(err, bundle.ErrNotFound) || err != nil && isEmpty(ref) {
		out.lacks(blobs, nil)
		return out, nil
	}
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	err = answered(ctx, patience, ref.String(), func(ctx context.Context) error {
		root, err := src.Resolve(ctx, ref.Name())
		if err == nil {
			out.State, out.Digest = destThere, root.Digest.String()
		}
		return err
	})
	if err != nil && !errors.Is(err, bundle.ErrNotFound) {
		return out, err
	}
	there, err := existing(ctx, src, blobs)
	out.lacks(blobs, there)
	return out, err
}

// existing returns which blobs a place has, by HEAD requests or names.
func existing(ctx context.Context, src bundle.Source, blobs []bundle.Descriptor) (map[digest.Digest]bool, error) {
	there := map[digest.Digest]bool{}
	place, ok := src.(interface {
		Exists(ctx context.Context, desc bundle.Descriptor) (bool, error)
	})
	if !ok {
		return there, nil
	}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(bundle.DefaultParallel)
	for _, b := range blobs {
		g.Go(func() error {
			has, err := place.Exists(gctx, b)
			mu.Lock()
			defer mu.Unlock()
			there[b.Digest] = has
			return err
		})
	}
	return there, g.Wait()
}

// lacks adds up blobs, each digest once.
func (d *plannedDest) lacks(blobs []bundle.Descriptor, there map[digest.Digest]bool) {
	seen := map[digest.Digest]bool{}
	for _, b := range blobs {
		switch {
		case seen[b.Digest]:
		case there[b.Digest]:
			d.There++
			d.ThereSize += b.Size
		default:
			d.Send++
			d.SendSize += b.Size
		}
		seen[b.Digest] = true
	}
}

// blobs lists the layers of a dry run that the cache has, and counts those that
// it has not, in all codecs.
func (d *dryRun) blobs(codecs int) (known []bundle.Descriptor, unknown int) {
	for _, t := range d.Targets {
		for _, l := range t.Layers {
			unknown += codecs
			for _, b := range l.Blobs {
				if b.Cached {
					known = append(known, bundle.Descriptor{MediaType: bundle.MediaTypeLayerZstd, Digest: digest.Digest(b.Digest), Size: b.Size})
					unknown--
				}
			}
		}
	}
	return known, unknown
}

// text says what is at the destination.
func (d *plannedDest) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nDestination %s\n", d.Reference)
	switch d.State {
	case destUnknown:
		fmt.Fprintf(&b, "  cannot be asked now, so that nobody knows what it has: %s\n", d.Reason)
		return b.String()
	case destThere:
		fmt.Fprintf(&b, "  has %s under that name\n", d.Digest)
	default:
		b.WriteString("  has nothing under that name\n")
	}
	fmt.Fprintf(&b, "  compressed layers: %d there (%s), %d to send (%s)", d.There, ui.Bytes(d.ThereSize), d.Send, ui.Bytes(d.SendSize))
	if d.Build > 0 {
		fmt.Fprintf(&b, ", %d not known before they are built", d.Build)
	}
	return b.String() + "\n"
}
