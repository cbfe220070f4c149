// Copyright The metalpack Authors
// SPDX-License-Identifier: Apache-2.0

package bundle

// Label names a blob for a human, as [Event].What of all transports does: its
// layer, its file or its digest.
func Label(d Descriptor) string { return blobLabel(d) }
