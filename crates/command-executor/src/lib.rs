//! Run one command anywhere: local, SSH, Docker; managed and attached handles, streams, signals.
