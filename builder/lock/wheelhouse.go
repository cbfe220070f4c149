// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package lock

import "github.com/metalpack/metalpack/builder/target"

// WheelhouseHeader is the first line of a lock that [Wheelhouse] makes.
const WheelhouseHeader = "# Written by \"metalpack fetch --into\", for pip and uv: every wheel lies beside it.\n"

// Wheelhouse returns the lock of wheels that lie in wheels/ beside it: those on
// no index too, and as the recipe decided. Installers take it offline.
func Wheelhouse(t *target.Target, wheels []Wheel) []byte {
	own := make([]Wheel, 0, len(wheels))
	for _, w := range wheels {
		w.Direct, w.URL = false, ""
		own = append(own, w)
	}
	l := Lock{
		LockVersion: Version, CreatedBy: "metalpack", RequiresPython: "==" + t.PythonMinor() + ".*",
		Environments: []string{t.Marker()}, Packages: fromWheels(own),
	}
	return l.encode(WheelhouseHeader)
}
