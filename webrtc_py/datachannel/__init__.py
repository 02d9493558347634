"""datachannel"""
