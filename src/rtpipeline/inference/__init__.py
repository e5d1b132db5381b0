"""Segmentation by networks: the child processes that run TotalSegmentator and nnU-Net, and what goes in and out."""
