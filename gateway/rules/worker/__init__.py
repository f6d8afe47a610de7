"""The process that rules run in, and the gateway's side of it: fed, watched, ended, followed by the next."""
