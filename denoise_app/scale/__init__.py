"""More work than one sitting: manifests, processes, remote places, clusters."""
