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
	Size        int64  `json:"size"` // bytes of its files, byte code included
}

func newVersionRow(v runtime.Version) versionRow {
	return versionRow{
		Environment: v.Env.Name, Version: v.ID, Release: v.Env.Release, Active: v.Active,
		Reference: v.Reference, Digest: v.ManifestDigest.String(), Directory: v.Dir, Size: v.Size(),
	}
}

func (a *app) versionsVerb() verb {
	var env string
	return verb{
		name: "versions", short: "list the installed versions of an environment", example: "metalrun versions",
		long:  "A star marks the active one. Installing the reference of another switches to it;\nits files are not fetched again.",
		flags: func(fs *flag.FlagSet) { envFlag(fs, &env) },
		run: func(_ context.Context, args []string) error {
			if err := edge.WantArgs("versions", args); err != nil {
				return err
			}
			home, name, err := a.home(env)
			if err != nil {
				return err
			}
			versions, err := home.Versions(name)
			rows := make([]versionRow, 0, len(versions))
			text := ui.Rows{{"", "VERSION", "RELEASE", "SIZE", "REFERENCE"}}
			for _, v := range versions {
				r := newVersionRow(v)
				rows = append(rows, r)
				mark := ""
				if r.Active {
					mark = "*"
				}
				text.Add(mark, r.Version, r.Environment+" "+r.Release, ui.Bytes(r.Size), r.Reference)
			}
			return errors.Join(a.Result(rows, a.Table("lllrl", text)), err)
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
		long: "Of each environment the active version, where it came from, what was active before it,\nand what its probes found when it was installed.",
		run: func(_ context.Context, args []string) error {
			if err := edge.WantArgs("status", args); err != nil {
				return err
			}
			home, err := runtime.OpenHome(a.Env.Getenv)
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
				rows = append(rows, statusText(&text, s, a.Table))
			}
			if len(all) == 0 {
				fmt.Fprintf(&text, "installed nothing; metalrun install %s\n", defaultEnvironment())
			}
			return a.Result(rows, text.String())
		},
	}
}

func statusText(text *strings.Builder, s runtime.Status, table ui.TableFunc) statusRow {
	row := statusRow{Environment: s.Name, Previous: s.Previous, Versions: s.Versions}
	if s.Active == nil {
		if s.Problem != nil {
			row.Problem = s.Problem.Error()
		}
		fmt.Fprintf(text, "%s\n  no active version: %s\n", s.Name, row.Problem)
		if errors.Is(s.Problem, verify.ErrDamaged) {
			fmt.Fprintf(text, "  'metalrun verify --repair --env %s' mends it\n", s.Name)
		}
		return row
	}
	active := newVersionRow(*s.Active)
	row.Active = &active
	var facts ui.Rows
	facts.Add("active", fmt.Sprintf("%s (%s)", active.Release, active.Version))
	facts.Add("reference", active.Reference)
	facts.Add("platform", fmt.Sprintf("%s, %s or newer", s.Active.Env.Platform, s.Active.Env.Platform.Floor()))
	if s.Previous != "" {
		facts.Add("previous", s.Previous)
	}
	for _, p := range s.Active.Marker.Probes {
		facts.Add("probe", fmt.Sprintf("%s: %s %s", p.Name, p.Status, p.Reason))
	}
	text.WriteString(s.Name + "\n" + table("ll", facts))
	return row
}

func (a *app) uninstallVerb() verb {
	var env string
	return verb{
		name: "uninstall", short: "remove an environment with all its versions", example: "metalrun uninstall --env mlx-lm",
		long:  "What an install that did not end has left goes too. Models stay: 'metalrun rm' removes\nthose.",
		flags: func(fs *flag.FlagSet) { envFlag(fs, &env) },
		run: func(ctx context.Context, args []string) error {
			if err := edge.WantArgs("uninstall", args); err != nil {
				return err
			}
			name, err := a.uninstall(ctx, env)
			if err != nil {
				return err
			}
			a.Note("models are kept")
			return a.Result(map[string]string{"removed": name}, name+" is removed\n")
		},
	}
}

// uninstall removes an environment and returns its name.
func (a *app) uninstall(ctx context.Context, env string) (string, error) {
	home, name, err := a.home(env)
	if err == nil {
		return name, inUse(home.Uninstall(ctx, name, a.Events()))
	}
	if !errors.Is(err, bundle.ErrNotFound) {
		return "", err
	}
	// Without a complete version: half made, half removed, or not ours.
	home, herr := runtime.OpenHome(a.Env.Getenv)
	if herr != nil {
		return "", herr
	}
	if env == "" {
		switch left, lerr := home.Unfinished(); {
		case lerr != nil:
			return "", lerr
		case len(left) > 1:
			return "", edge.Usagef("installs of several environments did not end (%s): choose with --env", strings.Join(left, ", "))
		case len(left) == 0:
			return "", err
		default:
			env = left[0]
		}
	}
	if uerr := inUse(home.Uninstall(ctx, env, a.Events())); !errors.Is(uerr, bundle.ErrNotFound) {
		return env, uerr
	}
	return "", err // it says what there is
}

// inUse says what to do about an environment that is served from.
func inUse(err error) error {
	if errors.Is(err, runtime.ErrInUse) {
		return edge.WithHint(err, "stop 'metalrun serve' or 'metalrun run', then uninstall again")
	}
	return err
}
