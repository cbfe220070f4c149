// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/runtime"
	"github.com/metalpack/metalpack/verify"
)

// versionRow is one installed version.
type versionRow struct {
	Environment string `json:"environment"`
	Version     string `json:"version"`
	Release     string `json:"release"`
	Active      bool   `json:"active"`
	Reference   string `json:"reference"`
	Digest      string `json:"digest"` // of the manifest
	Directory   string `json:"directory"`
	Size        int64  `json:"size"` // bytes of its files
}

func newVersionRow(v runtime.Version) versionRow {
	return versionRow{
		Environment: v.Env.Name, Version: v.ID, Release: v.Env.Release, Active: v.Active,
		Reference: v.Reference, Digest: v.ManifestDigest.String(), Directory: v.Dir, Size: v.Tree.Size(),
	}
}

func (a *app) versionsVerb() verb {
	var env string
	return verb{
		name: "versions", short: "list the installed versions of an environment", example: "metalrun versions",
		flags: func(fs *flag.FlagSet) { envFlag(fs, &env) },
		run: func(_ context.Context, args []string) error {
			if err := wantArgs("versions", args); err != nil {
				return err
			}
			home, name, err := a.home(env)
			if err != nil {
				return err
			}
			versions, err := home.Versions(name)
			rows := make([]versionRow, 0, len(versions))
			var text strings.Builder
			for _, v := range versions {
				r := newVersionRow(v)
				rows = append(rows, r)
				mark := " "
				if r.Active {
					mark = "*"
				}
				fmt.Fprintf(&text, "%s %s  %s %s  %s  %s\n", mark, r.Version, r.Environment, r.Release, ui.Bytes(r.Size), r.Reference)
			}
			return errors.Join(a.result(rows, text.String()), err)
		},
	}
}

// statusRow is what status tells of one environment.
type statusRow struct {
	Environment string      `json:"environment"`
	Active      *versionRow `json:"active,omitempty"`
	Problem     string      `json:"problem,omitempty"`
	Previous    string      `json:"previous,omitempty"`
	Versions    int         `json:"versions"`
}

func (a *app) statusVerb() verb {
	return verb{
		name: "status", short: "say what is installed and active", example: "metalrun status",
		run: func(_ context.Context, args []string) error {
			if err := wantArgs("status", args); err != nil {
				return err
			}
			home, err := runtime.OpenHome(a.env.Getenv)
			if err != nil {
				return err
			}
			all, err := home.Status()
			if err != nil {
				return err
			}
			rows := make([]statusRow, 0, len(all))
			var text strings.Builder
			fmt.Fprintf(&text, "home      %s\n", home.Dir)
			for _, s := range all {
				rows = append(rows, statusText(&text, s))
			}
			if len(all) == 0 {
				fmt.Fprintf(&text, "installed nothing; metalrun install %s\n", defaultEnvironment())
			}
			return a.result(rows, text.String())
		},
	}
}

func statusText(text *strings.Builder, s runtime.Status) statusRow {
	row := statusRow{Environment: s.Name, Previous: s.Previous, Versions: s.Versions}
	if s.Active == nil {
		if s.Problem != nil {
			row.Problem = s.Problem.Error()
		}
		fmt.Fprintf(text, "%s\n  no active version: %s\n", s.Name, row.Problem)
		return row
	}
	active := newVersionRow(*s.Active)
	row.Active = &active
	fmt.Fprintf(text, "%s\n  active    %s (%s)\n  reference %s\n  platform  %s, %s or newer\n", s.Name, active.Release, active.Version, active.Reference, s.Active.Env.Platform, s.Active.Env.Platform.Floor())
	if s.Previous != "" {
		fmt.Fprintf(text, "  previous  %s\n", s.Previous)
	}
	for _, p := range s.Active.Marker.Probes {
		fmt.Fprintf(text, "  probe     %s: %s %s\n", p.Name, p.Status, p.Reason)
	}
	return row
}

// verified is the result of verify.
type verified struct {
	Environment string               `json:"environment"`
	Version     string               `json:"version"`
	Files       verify.Report        `json:"files"`
	Probes      []verify.ProbeResult `json:"probes"`
}

func (a *app) verifyVerb() verb {
	var env string
	var deep bool
	return verb{
		name: "verify", short: "check the active version of an environment",
		long:    "Checks name, type, size and mode of every file, with --deep the sha256 too, then runs\nthe probes that the environment brings.",
		example: "metalrun verify --deep",
		flags: func(fs *flag.FlagSet) {
			envFlag(fs, &env)
			fs.BoolVar(&deep, "deep", false, "read every file and compare its sha256")
		},
		run: func(ctx context.Context, args []string) error {
			if err := wantArgs("verify", args); err != nil {
				return err
			}
			return a.runVerify(ctx, env, deep)
		},
	}
}

func (a *app) runVerify(ctx context.Context, env string, deep bool) error {
	home, name, err := a.home(env)
	if err != nil {
		return err
	}
	v, err := home.Active(name)
	if err != nil {
		return err
	}
	report, err := home.Verify(ctx, name, deep, a.events())
	if err != nil {
		return err
	}
	if report.Failures == nil {
		report.Failures = []verify.Failure{} // an empty list in JSON, not null
	}
	out := verified{Environment: name, Version: v.ID, Files: report}
	if err := report.Err(); err != nil {
		return errors.Join(a.jsonOnly(out), edge.WithHint(fmt.Errorf("%s %s: %w", name, v.ID, err),
			"'metalrun install %s' repairs it: files that are right are kept, the others replaced", v.Reference))
	}
	out.Probes, err = verify.Probes(ctx, v.Dir, v.Env, runtime.HostPlatform(ctx), verify.ProbeOptions{Events: a.events()})
	if err != nil {
		return errors.Join(a.jsonOnly(out), edge.WithHint(fmt.Errorf("%s %s: %w", name, v.ID, err),
			"its files are as they should be; the probe's own words are above: did the system change? 'metalrun install' of another release switches"))
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s (%s): %d files, %s, are as they should be\n", name, v.Env.Release, v.ID, report.Checked, ui.Bytes(report.Bytes))
	for _, p := range out.Probes {
		fmt.Fprintf(&text, "probe %s: %s %s\n", p.Name, p.Status, strings.TrimSpace(p.Reason+" "+p.Output))
	}
	return a.result(out, text.String())
}

// jsonOnly prints v under --json; without it the error says all.
func (a *app) jsonOnly(v any) error {
	if !a.json {
		return nil
	}
	return a.result(v, "")
}

func (a *app) uninstallVerb() verb {
	var env string
	return verb{
		name: "uninstall", short: "remove an environment with all its versions", example: "metalrun uninstall --env mlx-lm",
		flags: func(fs *flag.FlagSet) { envFlag(fs, &env) },
		run: func(ctx context.Context, args []string) error {
			if err := wantArgs("uninstall", args); err != nil {
				return err
			}
			name, err := a.uninstall(ctx, env)
			if err != nil {
				return err
			}
			a.events()(bundle.Event{Kind: bundle.EventNote, Reason: "models are kept"})
			return a.result(map[string]string{"removed": name}, name+" is removed\n")
		},
	}
}

// uninstall removes an environment and returns its name.
func (a *app) uninstall(ctx context.Context, env string) (string, error) {
	home, name, err := a.home(env)
	if err == nil {
		return name, home.Uninstall(ctx, name)
	}
	if env == "" || !errors.Is(err, bundle.ErrNotFound) {
		return "", err
	}
	// Without a complete version: half removed, or not ours.
	if home, err = runtime.OpenHome(a.env.Getenv); err != nil {
		return "", err
	}
	return env, home.Uninstall(ctx, env)
}
