from rtpipeline.scheduling.progress import StageProgress, progress_line


def test_progress_line_has_the_documented_form():
    assert progress_line("Segmentation", 3, 10, 12.5) == "Segmentation: 3/10 (30%) elapsed 12.5s ETA 29.2s"


def test_progress_counts_each_stage_from_its_own_start():
    now = 0.0
    progress = StageProgress(["DVH", "DVH", "QC"], clock=lambda: now)
    progress.start("DVH")
    now = 4.0
    assert progress.finish("DVH") == "DVH: 1/2 (50%) elapsed 4.0s ETA 4.0s"
    progress.start("QC")
    now = 5.0
    assert progress.finish("QC") == "QC: 1/1 (100%) elapsed 1.0s ETA 0.0s"


def test_nothing_done_yet_has_no_end_in_sight():
    assert progress_line("DVH", 0, 3, 1.0) == "DVH: 0/3 (0%) elapsed 1.0s ETA infs"
