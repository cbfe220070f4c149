// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/metalpack/metalpack/internal/edge"
	"github.com/metalpack/metalpack/internal/registry"
)

type registryServeOptions struct {
	addr string
	dir  string
}

func (a *app) newRegistryCmd() *cobra.Command {
	parent := &cobra.Command{
		Use: "registry", Short: "the embedded registry",
		Args: cobra.ArbitraryArgs, RunE: group,
	}
	o := registryServeOptions{}
	serve := &cobra.Command{
		Use:   "serve",
		Short: "serve a registry from a directory until interrupted",
		Long: "Serve an OCI registry (the CNCF distribution registry as a library) whose content\n" +
			"stays in a directory. It has neither TLS nor login: keep it on loopback.",
		Example: "  metalpack registry serve --addr 127.0.0.1:5000 --dir ./registry",
		Args:    exactArgs(),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.runRegistryServe(cmd.Context(), o) },
	}
	serve.Flags().StringVar(&o.addr, "addr", "127.0.0.1:5000", "`address` to listen on; port 0 picks a free one")
	serve.Flags().StringVar(&o.dir, "dir", "", "`directory` where content is kept (default: registry in the cache directory, where 'cache prune' leaves it alone)")
	parent.AddCommand(serve)
	return parent
}

func (a *app) runRegistryServe(ctx context.Context, o registryServeOptions) error {
	if o.dir == "" {
		dir, err := a.cache("registry")
		if err != nil {
			return err
		}
		o.dir = dir
	}
	if _, _, err := net.SplitHostPort(o.addr); err != nil {
		return edge.Usagef("registry serve: --addr %q: want host:port, like 127.0.0.1:5000", o.addr)
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", o.addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return edge.WithHint(fmt.Errorf("registry: %w", err), "another program has the port: pass --addr 127.0.0.1:0 for a free one")
	}
	if err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	h, err := registry.Handler(ctx, o.dir)
	if err == nil {
		err = a.Print("http://" + ln.Addr().String() + "\n")
	}
	if err != nil {
		return errors.Join(err, ln.Close())
	}
	a.Note("registry on %s, content in %s; Ctrl-C stops it", ln.Addr(), o.dir)
	if err := registry.Serve(ctx, ln, h); err != nil {
		return err
	}
	return context.Cause(ctx) // it serves until it is interrupted
}
