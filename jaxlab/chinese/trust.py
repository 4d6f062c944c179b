"""What is said when something is damaged, full or unlike what was saved, in Chinese."""

TABLE: dict[str, str] = {
    # --- faults ---
    'JAXLAB_FAIL_AT={text}: point:step:kind is wanted, such as save_start:20:kill.': (
        'JAXLAB_FAIL_AT={text}：应为 point:step:kind 的形式，例如 save_start:20:kill。'
    ),
    'fault "{name}": {alternatives}': '没有故障“{name}”；{alternatives}',
    # --- lock ---
    (
        '--workdir={workdir} is in use by process {process} on {host}, since {since}.'
        '\nWait until it has ended, or end it; or give another --workdir.'
    ): (
        '--workdir={workdir} 正被 {host} 上的进程 {process} 使用，自 {since} 起。'
        '\n请等它结束或将它结束，或换一个 --workdir。'
    ),
    '--workdir={workdir}: process 0 cannot have it, and says why.': (
        '--workdir={workdir}：进程 0 无法占用它，原因由其说明。'
    ),
    (
        '--workdir={workdir} was taken over by process {process} on {host}: this run gave no sign of life for'
        ' {seconds:.0f} s.\nThat one goes on from the newest checkpoint.'
    ): (
        '--workdir={workdir} 已被 {host} 上的进程 {process} 接管：本次运行超过 {seconds:.0f} 秒没有任何动静。'
        '\n接管者会从最新的检查点继续。'
    ),
    '--workdir={workdir} was in use by process {process} on {host} {seconds:.0f} s ago: waiting for a sign of life': (
        '--workdir={workdir} 在 {seconds:.0f} 秒前还被 {host} 上的进程 {process} 使用：正在等待其动静'
    ),
    # --- place ---
    '{path}: there is no kind of storage "{scheme}"; gs:// or s3:// is.': (
        '{path}：没有“{scheme}”这种存储；可用 gs:// 或 s3://。'
    ),
    '{path}: {error}.\ngs:// wants the package gcsfs, s3:// wants s3fs: pip install gcsfs': (
        '{path}：{error}。\ngs:// 需要软件包 gcsfs，s3:// 需要 s3fs：pip install gcsfs'
    ),
    # --- writes, lines ---
    (
        '{file} could not be written {count} times in a row ({error}).\nMake room or mend the disk; the same command'
        ' then goes on from the newest checkpoint.'
    ): (
        '{file} 连续 {count} 次未能写入（{error}）。'
        '\n请腾出磁盘空间或修好磁盘，之后再运行同一条命令即可从最新的检查点继续。'
    ),
    'warning: {file} could not be written ({error}); training goes on, and its rows wait in memory': (
        '警告：{file} 未能写入（{error}）；训练继续，其各行暂存在内存中'
    ),
    '{file} is written again, and no row is missing': '{file} 已恢复写入，没有缺少任何一行',
    'warning: {file} could not be written ({error}); training goes on': '警告：{file} 未能写入（{error}）；训练继续',
    'warning: nothing more can be printed ({error}); training goes on': '警告：无法再打印任何内容（{error}）；训练继续',
    'warning: {file}: {count} lines could not be read and are left out, the first of them line {number}': (
        '警告：{file}：有 {count} 行无法读取，已略去，其中第一处是第 {number} 行'
    ),
    # --- manifest ---
    'missing': '缺失',
    'cannot be read ({error})': '无法读取（{error}）',
    'other bytes than were saved': '内容与保存时不同',
    'it is that of step {step}': '它属于第 {step} 步',
    '{size} bytes instead of {saved}': '{size} 字节，而保存时是 {saved} 字节',
    'a link to elsewhere': '指向别处的链接',
    'not a name within this folder': '不是这个文件夹之内的名称',
    'not among what was saved': '不在保存的内容之中',
    '{file}: {what}; and {count} more': '{file}：{what}；另有 {count} 个文件',
    # --- checkpoint ---
    'the checkpoint of step {step} could not be saved ({error})': '第 {step} 步的检查点未能保存（{error}）',
    'warning: {why}; training goes on': '警告：{why}；训练继续',
    '{why}; {good}.\nMake room or mend the disk of {folder}; the same command then goes on.': (
        '{why}；{good}。\n请为 {folder} 所在的磁盘腾出空间或修好它，之后再运行同一条命令即可接着训练。'
    ),
    'the newest good one is that of step {step}': '最新的完好检查点是第 {step} 步的',
    'there is no other': '没有其他检查点',
    'warning: {folder} is damaged ({damage}): an older checkpoint is taken': (
        '警告：{folder} 已损坏（{damage}），改用更早的检查点'
    ),
    '{folder}: no checkpoint is good: {damage}.\nBring these files back from a copy, or give another --workdir to start'
    ' anew.': '{folder}：没有完好的检查点：{damage}。\n请从备份恢复这些文件，或换一个 --workdir 重新开始。',
    '{workdir}: the checkpoint of step {step} is damaged ({damage}); there are {saved}.': (
        '{workdir}：第 {step} 步的检查点已损坏（{damage}）；现有 {saved}。'
    ),
    'another process says where': '位置由另一个进程说明',
    # --- mismatch ---
    '{leaf} was not saved': '{leaf} 没有保存过',
    '{leaf} was saved and is not wanted': '{leaf} 保存过，但现在不需要',
    '{leaf} is {saved}, not {wanted}': '{leaf} 是 {saved}，而不是 {wanted}',
    '{lines}; and {count} more': '{lines}；另有 {count} 处',
    '{where} holds other arrays than are wanted: {lines}.\n{remedy}': (
        '{where} 里的数组与需要的不同：{lines}。\n{remedy}'
    ),
    'One has its layers stacked, the other has them one by one: set config.model.scan={scan}, as it was when this was'
    ' saved.': '一方的各层叠在一起，另一方的各层是分开的：请设 config.model.scan={scan}，与保存时相同。',
    'No average of the parameters was saved: set config.average=0, as it was then.': (
        '没有保存过参数的平均：请设 config.average=0，与当时相同。'
    ),
    'Set config.precision.parameters to what it was when this was saved (its config.json says it).': (
        '请把 config.precision.parameters 设成保存时的值（见它的 config.json）。'
    ),
    'Give the settings it was saved with (its config.json has them), or another --workdir to start anew.': (
        '请使用保存时的设置（见它的 config.json），或换一个 --workdir 重新开始。'
    ),
    # --- numbers ---
    'warning: {count} updates in a row were left out after step {good}: back to step {to}, and on with other data': (
        '警告：第 {good} 步之后连续 {count} 次更新被跳过：退回第 {to} 步，并换用后面的数据'
    ),
    # --- watchdog ---
    'step {step} has taken {waited:,.0f} s, where a step takes {usual:.3g} s: this run hangs, and ends. The'
    ' same command goes on from the newest checkpoint. What each thread does: {file}': (
        '第 {step} 步已用 {waited:,.0f} 秒，而平常一步只要 {usual:.3g} 秒：训练已停滞，现在结束。'
        '同一命令会从最新的检查点继续。各线程正在做什么：{file}'
    ),
    # --- verify ---
    'Check every file of every checkpoint against its checksums.': '用校验和检查每个检查点的每个文件。',
    '{step}: damaged: {damage}': '{step}：已损坏：{damage}',
    '{step}: good ({files} files, {size:,.1f} MB)': '{step}：完好（{files} 个文件，{size:,.1f} MB）',
}
