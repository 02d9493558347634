"""WebRTC for Python."""
