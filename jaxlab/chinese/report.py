"""The report and the trackers; see `jaxlab.chinese`."""

TABLE: dict[str, str] = {
    '{workdir}: there are no metrics yet; the first row comes after log.every steps.': (
        '{workdir}：还没有指标；第一行在 log.every 步之后写入。'
    ),
    '{folder}: there is no such folder.': '{folder}：没有这个文件夹。',
    '{folder}: there is no experiment here (no config.json), nor one step below.': (
        '{folder}：这里没有实验（没有 config.json），下一层文件夹里也没有。'
    ),
    '--output={file}: {error}.': '--output={file}：{error}。',
    'report takes no --config.…: it shows runs as they were.': 'report 不接受 --config.…：它如实展示已有的运行。',
    'say which run: python -m jaxlab.main report runs/…': '请指明是哪次运行：python -m jaxlab.main report runs/…',
    '--every={every}: a number of seconds above 0 is wanted.': '--every={every}：应为大于 0 的秒数。',
    '{file}: written anew whenever something is measured; Ctrl-C ends.': '{file}：一有新的测量就重写；按 Ctrl-C 结束。',
    'the report could not be written ({reason}); the run is not concerned.': '报告未能写成（{reason}）；运行不受影响。',
    '{name} is too slow: rows are left out there. metrics.jsonl has them all.': (
        '{name} 太慢：有些行没有写到那里。metrics.jsonl 里全都有。'
    ),
    '{name} failed ({reason}); the run goes on without it.': '{name} 出错（{reason}）；运行在没有它的情况下继续。',
    'config.log.wandb={project}: wandb is not installed; bash launch/setup.sh --extras=wandb installs it.': (
        'config.log.wandb={project}：没有安装 wandb；运行 bash launch/setup.sh --extras=wandb 即可安装。'
    ),
    'Write the report of a run, or one page that puts several runs side by side.': (
        '写出一次运行的报告，或把几次运行并排放在一页上。'
    ),
    'a run, or a folder of runs': '一次运行，或放着多次运行的文件夹',
    'the same, as a flag': '同上，以选项给出',
    'the file to write; default: report.html beside the runs': '要写的文件；默认：运行旁边的 report.html',
    'write it again whenever something changes, until Ctrl-C': '一有变化就重写，直到按 Ctrl-C',
    'seconds between two looks of --watch (default 5)': '--watch 两次查看之间的秒数（默认 5）',
    'everything lies in {workdir}; look at {page}': '全部结果在 {workdir}；请看 {page}',
    'wandb did not come to an end; what it kept in the workdir can be sent by: wandb sync': (
        'wandb 没有结束；它留在工作目录里的内容可以用 wandb sync 发送'
    ),
}
