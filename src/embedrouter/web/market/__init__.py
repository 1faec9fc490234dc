"""What everybody may know of this installation: rankings, apps, providers, prices."""
