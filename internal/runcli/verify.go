// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/transports"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/runtime"
	"github.com/metalpack/metalpack/verify"
)

// verified is the result of verify for an environment.
type verified struct {
	Environment string               `json:"environment"`
	Version     string               `json:"version"`
	Files       verify.Report        `json:"files"`
	Probes      []verify.ProbeResult `json:"probes"`
	Repaired    int                  `json:"repaired"` // files that were damaged
}

type verifyOptions struct {
	env    string
	deep   bool
	repair bool
}

// again is how the same is said with --repair.
func (o verifyOptions) again() string {
	text := "metalrun verify --repair"
	if o.deep {
		text += " --deep"
	}
	if o.env != "" {
		text += " --env " + o.env
	}
	return text
}

func (a *app) verifyVerb() verb {
	var o verifyOptions
	return verb{
		name: "verify", remote: true, args: "[MODEL…]", short: "check the active version of an environment, or models, and mend them",
		long: "Of an environment: name, type, size and mode of every file, with --deep the sha256 too,\n" +
			"then the probes that it brings. Of models of the store: the sha256 of every file, again\n" +
			"with --deep if it was hashed before and has not changed since.\n\n" +
			"--repair fetches what is damaged or missing, and no more, from where it came from: an\n" +
			"environment by the digest that was installed, a file of a model by its own.",
		example: "metalrun verify --deep\n  metalrun verify --repair ai/smollm2",
		flags: func(fs *flag.FlagSet) {
			envFlag(fs, &o.env)
			fs.BoolVar(&o.deep, "deep", false, "read every file and compare its sha256")
			fs.BoolVar(&o.repair, "repair", false, "fetch again what is damaged or missing")
		},
		run: func(ctx context.Context, args []string) error {
			switch {
			case len(args) == 0:
				return a.runVerify(ctx, o)
			case o.env != "":
				return edge.Usagef("verify: --env is for environments, %s is a model", args[0])
			}
			return a.verifyModels(ctx, args, o)
		},
	}
}

func (a *app) runVerify(ctx context.Context, o verifyOptions) error {
	home, name, err := a.home(o.env)
	if err != nil {
		return err
	}
	v, err := home.Active(name)
	reloaded := 0
	if errors.Is(err, verify.ErrDamaged) {
		v, err = a.reload(ctx, home, name, err, o)
		reloaded = 1
	}
	if err != nil {
		return err
	}
	report, err := home.Verify(ctx, name, o.deep, a.Events())
	if err != nil {
		return err
	}
	repaired := reloaded
	if n := len(report.Failures); n > 0 && o.repair {
		a.Note("%v", report.Err())
		if v, err = a.repairVersion(ctx, home, v.Reference, v.ManifestDigest, o.deep); err != nil {
			return err
		}
		if report, err = home.Verify(ctx, name, o.deep, a.Events()); err != nil {
			return err
		}
		repaired += n
	}
	return a.probe(ctx, verified{Environment: name, Version: v.ID, Files: report, Repaired: repaired}, v, o)
}

// reload repairs a version that cannot be read: what it says about itself is
// damaged, and perhaps more. If its marker is left, that says where it came
// from.
func (a *app) reload(ctx context.Context, home *runtime.Home, name string, damage error, o verifyOptions) (*runtime.Version, error) {
	reference, manifest, err := home.Origin(name)
	switch {
	case err != nil:
		return nil, edge.WithHint(damage, "it does not tell any more where it came from: 'metalrun install REFERENCE' with the reference it was installed by mends it")
	case !o.repair:
		return nil, edge.WithHint(damage, "'%s' mends it: files that are right are kept, the others fetched from %s", o.again(), reference)
	}
	a.Note("%v", damage)
	return a.repairVersion(ctx, home, reference, manifest, o.deep)
}

// repairVersion fetches what is damaged of a version from where it came from,
// whatever its tag means today.
func (a *app) repairVersion(ctx context.Context, home *runtime.Home, reference string, manifest digest.Digest, deep bool) (_ *runtime.Version, err error) {
	ref, err := bundle.ParseSource(reference, "")
	if err != nil {
		return nil, err
	}
	src, closeSource, err := transports.OpenSource(ref, a.remote())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	res, err := home.Install(ctx, src, manifest.String(), reference, runtime.InstallOptions{Host: runtime.HostPlatform(ctx), Events: a.Events(), Deep: deep})
	if errors.Is(err, bundle.ErrNotFound) {
		return nil, edge.WithHint(err, "%s does not have what was installed any more; 'metalrun install %s' takes what it has now", ref, reference)
	}
	return &res.Version, err
}

// probe ends a verification: with what is wrong with the files, or the probes.
func (a *app) probe(ctx context.Context, out verified, v *runtime.Version, o verifyOptions) (err error) {
	if out.Files.Failures == nil {
		out.Files.Failures = []verify.Failure{} // an empty list in JSON, not null
	}
	out.Probes = []verify.ProbeResult{} // likewise
	if err := out.Files.Err(); err != nil {
		return errors.Join(a.jsonOnly(out), edge.WithHint(fmt.Errorf("%s %s: %w", out.Environment, v.ID, err),
			"'%s' mends it: files that are right are kept, the others fetched from %s", o.again(), v.Reference))
	}
	out.Probes, err = verify.Probes(ctx, v.Dir, v.Env, runtime.HostPlatform(ctx), verify.ProbeOptions{Events: a.Events()})
	if err != nil {
		return errors.Join(a.jsonOnly(out), edge.WithHint(fmt.Errorf("%s %s: %w", out.Environment, v.ID, err),
			"its files are as they should be; the probe's own words are above: did the system change? 'metalrun install' of another release switches"))
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s (%s): %s, %s, are as they should be", out.Environment, v.Env.Release, v.ID, ui.Plural(out.Files.Checked, "file"), ui.Bytes(out.Files.Bytes))
	if out.Repaired > 0 {
		fmt.Fprintf(&text, "; %d of them had been damaged", out.Repaired)
	}
	text.WriteString("\n")
	for _, p := range out.Probes {
		text.WriteString(strings.TrimSpace(fmt.Sprintf("probe %s: %s %s", p.Name, p.Status, strings.TrimSpace(p.Reason+" "+p.Output))) + "\n")
	}
	return a.Result(out, text.String())
}

// jsonOnly prints v under --json; without it the error says all.
func (a *app) jsonOnly(v any) error {
	if !a.JSON {
		return nil
	}
	return a.Result(v, "")
}
