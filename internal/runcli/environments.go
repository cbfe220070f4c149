// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package runcli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	goruntime "runtime"
	"slices"
	"strings"

	"github.com/metalpack/metalpack/bundle"
	"github.com/metalpack/metalpack/bundle/transports"
	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/ui"
	"github.com/metalpack/metalpack/runtime"
)

// installed is the result of install.
type installed struct {
	Environment string `json:"environment"`
	Release     string `json:"release"`
	Version     string `json:"version"` // id
	Reference   string `json:"reference"`
	Digest      string `json:"digest"` // of the manifest
	Directory   string `json:"directory"`
	Already     bool   `json:"already"`
	Fetched     int64  `json:"fetched"` // bytes that came over the network
	Reused      int64  `json:"reused"`  // bytes that were here already
}

func (a *app) installVerb() verb {
	return verb{
		name: "install", remote: true, args: "[REFERENCE]",
		short: "install an environment and make it the active version",
		long: "Pulls the environment, checks every byte, runs its probes and only then switches to it\n" +
			"by one atomic rename. A failure at any point leaves the version before it in place, and\n" +
			"what came for the next install to go on with. Environments lie in METALRUN_HOME, else\n" +
			"where Docker Model Runner has its own, ~/.docker/model-runner.\n\n" +
			"Without a REFERENCE it is " + defaultEnvironment() + "; one in a registry is written\n" +
			"REGISTRY/ORG/NAME:TAG, docker:// before it or not, one in a layout oci:DIR:TAG, one in\n" +
			"an archive oci-archive:FILE.",
		example: "metalrun install docker.io/metalpack/vllm-metal:0.30.0\n  metalrun install oci:out:0.32.2",
		run:     a.runInstall,
	}
}

func (a *app) runInstall(ctx context.Context, args []string) (err error) {
	named := len(args) > 0
	if !named {
		args = []string{defaultEnvironment()}
	}
	if err := edge.WantArgs("install", args, "REFERENCE"); err != nil {
		return err
	}
	ref, err := parseSource(args[0], "")
	if err != nil {
		return err
	}
	if ref.Path != "" { // a repair may be called for elsewhere
		if ref.Path, err = filepath.Abs(ref.Path); err != nil {
			return err
		}
	}
	src, closeSource, err := transports.OpenSource(ref, a.remote())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeSource()) }()
	home, err := runtime.OpenHome(a.Env.Getenv)
	if err != nil {
		return err
	}
	res, err := home.Install(ctx, src, ref.Name(), ref.String(), runtime.InstallOptions{Host: runtime.HostPlatform(ctx), Events: a.Events()})
	switch {
	case errors.Is(err, runtime.ErrNotEnvironment):
		return edge.WithHint(fmt.Errorf("%s: %w", ref, err), "if it is a model: 'metalrun pull %s'", ref)
	case err != nil && !named:
		return defaultError(err)
	case err != nil:
		return sourceError(ref, err)
	}
	v := res.Version
	out := installed{
		Environment: v.Env.Name, Release: v.Env.Release, Version: v.ID, Reference: ref.String(), Digest: v.ManifestDigest.String(),
		Directory: v.Dir, Already: res.Already, Fetched: res.Fetched, Reused: res.Reused,
	}
	text := fmt.Sprintf("%s %s (%s) is installed and active: %s fetched, %s reused\n", out.Environment, out.Release, out.Version, ui.Bytes(out.Fetched), ui.Bytes(out.Reused))
	if out.Already {
		text = fmt.Sprintf("%s %s (%s) is already installed and active\n", out.Environment, out.Release, out.Version)
	}
	return a.Result(out, text)
}

// defaultError adds to the error of an environment that nobody named that another
// may be, and how: Docker Hub says of one that it does not have that who asks is
// not authorized.
func defaultError(err error) error {
	advice := "name another"
	switch {
	case errors.Is(err, bundle.ErrUnreachable):
		advice = "check the network and HTTPS_PROXY, or name another"
	case !errors.Is(err, bundle.ErrNotFound) && !errors.Is(err, bundle.ErrUnauthorized):
		return err
	}
	return edge.WithHint(err, "install takes %s when no REFERENCE is given; %s: docker://REGISTRY/ORG/NAME:TAG, where docker:// may be left out, oci:DIR:TAG for an OCI layout or oci-archive:FILE for an archive", defaultEnvironment(), advice)
}

// envFlag adds --env to a verb that works on one installed environment. What can
// be no name, a path or what a script left empty, is no word for the only one.
func envFlag(fs *flag.FlagSet, name *string) {
	fs.Func("env", "`environment`, when several are installed", func(word string) error {
		*name = word
		return bundle.CheckName(word)
	})
}

// home opens the install home, and the environment that name means: the only
// one when name is "".
func (a *app) home(name string) (*runtime.Home, string, error) {
	home, err := runtime.OpenHome(a.Env.Getenv)
	if err != nil {
		return nil, "", err
	}
	names, err := home.Environments()
	switch {
	case err != nil:
		return nil, "", err
	case name != "" && slices.Contains(names, name):
		return home, name, nil
	case len(names) == 0:
		return nil, "", edge.WithHint(edge.Errorf(bundle.ErrNotFound, "no environment is installed"), "metalrun install %s", defaultEnvironment())
	case name != "":
		return nil, "", edge.Errorf(bundle.ErrNotFound, "environment %q is not installed, only %s", name, strings.Join(names, ", "))
	case len(names) > 1:
		return nil, "", edge.Usagef("several environments are installed (%s): choose with --env", strings.Join(names, ", "))
	}
	return home, names[0], nil
}

// defaultEnvironment is what install means without a reference.
func defaultEnvironment() string {
	if goruntime.GOOS == "darwin" {
		return "docker.io/metalpack/vllm-metal"
	}
	return "docker.io/metalpack/mlx-lm"
}
