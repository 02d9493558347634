"""jsep"""
