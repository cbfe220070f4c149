// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runtime

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/fsatomic"
	"github.com/metalpack/metalpack/verify"
)

// InstallOptions says how [Home.Install] works.
type InstallOptions struct {
	Host         bundle.Platform  // this machine, see [HostPlatform]
	Events       bundle.EventFunc // progress; nil = none
	ProbeTimeout time.Duration    // of probes that name none; 0 = [verify.DefaultTimeout]
	Deep         bool             // read every file of a version that is there already, instead of looking at it
}

// Result is what [Home.Install] did.
type Result struct {
	Version Version
	Already bool                 // it was installed and active before
	Fetched int64                // bytes of blobs that came from the source
	Reused  int64                // bytes that lay here: a broken attempt, other versions
	Probes  []verify.ProbeResult // with an error too
}

// Install brings what name, a tag or a digest of src, stands for to this
// machine and makes it the active version of its environment; ref is how the
// user called it. When that version is active already it checks the files'
// names, sizes and modes, or all of them when deep, notes where it comes from
// now, and does no more. Errors are those of src; [bundle.ErrUnsupportedHost],
// [bundle.ErrInvalid] and [bundle.ErrMismatch] for an artifact that cannot be
// used; [ErrNotEnvironment]; [verify.ErrProbe] when it does not work here; a
// [*SpaceError]; or ctx's cause. After an error the version that was active is
// active.
func (h *Home) Install(ctx context.Context, src bundle.Source, name, ref string, o InstallOptions) (res Result, err error) {
	unlock, err := h.lock(ctx, o.Events)
	if err != nil {
		return Result{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	art, err := resolve(ctx, src, name, o)
	if err != nil {
		return Result{}, err
	}
	err = errors.Join(h.sweepEnvironment(art.env.Name), sweep(filepath.Join(h.VersionDir(art.env.Name, art.id), bundle.MetadataDir)), h.reached("resolved"))
	if err != nil {
		return Result{}, err
	}
	if err := h.checkOurs(art.env.Name); err != nil {
		return Result{}, err
	}
	in := &install{home: h, art: art, ref: ref, options: o, staging: h.StagingDir(art.id)}
	before := h.activeID(art.env.Name)
	err = in.spaceError(in.run(ctx, before))
	in.result.Fetched = art.fetched.Load()
	if err != nil {
		in.explain(before)
	}
	return in.result, err
}

// install is one run of Install under the lock.
type install struct {
	home    *Home
	art     *artifact
	ref     string
	options InstallOptions
	staging string
	result  Result
}

func (in *install) note(format string, args ...any) {
	in.options.Events.Emit(bundle.Event{Kind: bundle.EventNote, Reason: fmt.Sprintf(format, args...)})
}

// run makes the version unless it is there and sound, and activates it.
func (in *install) run(ctx context.Context, before string) error {
	if err := in.home.clearStaging(in.options.Events, in.art.env.Name, in.art.id); err != nil {
		return err
	}
	name, id := in.art.env.Name, in.art.id
	v, report, err := in.home.check(ctx, name, id, verify.Options{Deep: in.options.Deep})
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	sound := err == nil && report.Err() == nil
	if sound { // perhaps what a repair swapped out was not removed
		if err := errors.Join(os.RemoveAll(in.staging), in.remark(v)); err != nil {
			return err
		}
	}
	switch {
	case sound && before == id:
		in.result.Version, in.result.Already = *v, true
		in.result.Probes = v.Marker.Probes
		return in.home.tellDocker(name) // its uninstall may have removed the file alone
	case sound:
		in.note("%s %s (%s) is installed already; switching to it", name, v.Env.Release, id)
		in.result.Reused = v.Tree.Size()
	default:
		if !errors.Is(err, bundle.ErrNotFound) {
			in.note("%s (%s) is installed but damaged; repairing it", name, id)
		}
		if err := in.make(ctx); err != nil {
			return err
		}
	}
	if in.result.Probes == nil {
		// Installed before, perhaps on an older system: what worked then
		// need not work now.
		in.result.Probes, err = verify.Probes(ctx, in.home.VersionDir(name, id), in.art.env, in.options.Host, in.probeOptions())
		if err != nil {
			return err
		}
	}
	if err := in.home.activate(name, id, before); err != nil {
		return err
	}
	active, err := in.home.load(name, id)
	if err != nil {
		return err
	}
	in.result.Version = *active
	return nil
}

func (in *install) probeOptions() verify.ProbeOptions {
	return verify.ProbeOptions{Timeout: in.options.ProbeTimeout, Events: in.options.Events}
}

// remark notes where a version that is there has come from now: it may be gone
// from where it came from first, and a repair asks there.
func (in *install) remark(v *Version) error {
	if v.Reference == in.ref && v.ManifestDigest == in.art.desc.Digest {
		return nil
	}
	m := *v.Marker
	m.Reference, m.Digest, m.ManifestDigest = in.ref, in.art.root.Digest, in.art.desc.Digest
	v.Reference, v.ManifestDigest, v.Marker = m.Reference, m.ManifestDigest, &m
	return writeMarker(v.Dir, &m)
}

// make fills the staging directory, proves it and moves it to its place.
func (in *install) make(ctx context.Context) error {
	f := &filler{home: in.home, art: in.art, dir: in.staging, events: in.options.Events}
	err := f.fill(ctx)
	in.result.Reused = f.kept + f.reused
	if err != nil {
		return err
	}
	code, err := in.compileAndSync(ctx)
	if err != nil {
		return err
	}
	in.result.Probes, err = verify.Probes(ctx, in.staging, in.art.env, in.options.Host, in.probeOptions())
	if err != nil {
		if errors.Is(err, verify.ErrProbe) {
			// Its bytes are right, so another attempt would end the same way.
			err = errors.Join(err, os.RemoveAll(in.staging))
		}
		return err
	}
	if err := in.home.reached("probed"); err != nil {
		return err
	}
	err = writeMarker(in.staging, &Marker{
		Version: formatVersion, Name: in.art.env.Name, Release: in.art.env.Release, Reference: in.ref,
		Digest: in.art.root.Digest, ManifestDigest: in.art.desc.Digest,
		TreeDigest: bundle.TreeDigest(in.art.metadata[bundle.TreePath]), ByteCode: code, Probes: in.result.Probes,
	})
	if err != nil {
		return err
	}
	if err := in.home.reached("marked"); err != nil {
		return err
	}
	if err := in.place(); err != nil {
		return err
	}
	return in.home.reached("placed")
}

// compileAndSync makes the byte code of a filled staging directory, and all of
// it durable.
func (in *install) compileAndSync(ctx context.Context) ([]ByteCode, error) {
	if err := in.home.reached("filled"); err != nil {
		return nil, err
	}
	if err := compile(ctx, in.staging, in.options.Events); err != nil {
		return nil, err
	}
	if err := in.home.reached("compiled"); err != nil {
		return nil, err
	}
	code, err := seal(ctx, in.staging, in.art.tree)
	if err != nil {
		return nil, err
	}
	if err := syncTree(in.staging); err != nil {
		return nil, fmt.Errorf("%s: sync: %w", in.staging, err)
	}
	return code, in.home.reached("synced")
}

// place moves the finished version to versions/. A damaged one of the same id
// is swapped out in one step, so that the pointer never dangles.
func (in *install) place() error {
	to := in.home.VersionDir(in.art.env.Name, in.art.id)
	if err := in.home.makeDir(filepath.Dir(to)); err != nil {
		return err
	}
	if _, err := os.Lstat(to); err != nil {
		return fsatomic.Rename(in.staging, to)
	}
	if err := exchange(in.staging, to); err != nil {
		return fmt.Errorf("%s: replace: %w", to, err)
	}
	if err := errors.Join(fsatomic.SyncDir(filepath.Dir(to)), in.home.reached("swapped")); err != nil {
		return err
	}
	return os.RemoveAll(in.staging)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// explain says what an install that failed leaves.
func (in *install) explain(before string) {
	text := fmt.Sprintf("nothing was activated; no version of %s is active", in.art.env.Name)
	switch now := in.home.activeID(in.art.env.Name); {
	case now != before: // by the last rename: only making it durable failed
		text = fmt.Sprintf("version %s of %s is active", now, in.art.env.Name)
	case before != "":
		text = fmt.Sprintf("nothing was activated; version %s of %s is active as before", before, in.art.env.Name)
	}
	if os.Remove(in.staging) != nil && exists(in.staging) { // not empty
		text += "; what was fetched and is right is kept for the next attempt"
	}
	in.note("%s", text)
}
