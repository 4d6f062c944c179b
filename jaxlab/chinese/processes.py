"""What is said of several processes, in Chinese."""

TABLE: dict[str, str] = {
    # --- parallel/cluster ---
    '{by}: this is process {process} of {processes}; the numbers are 0 to {last}.': (
        '{by}：这是 {processes} 个进程中的进程 {process}；编号应为 0 到 {last}。'
    ),
    'JAXLAB_COORDINATOR={coordinator}: host:port of process 0 is wanted, such as node-0:8476.': (
        'JAXLAB_COORDINATOR={coordinator}：应为进程 0 的 host:port，例如 node-0:8476。'
    ),
    '{given} is set and {missing} is not: one of several processes is told all of {example}.': (
        '已设置 {given}，但没有设置 {missing}：多个进程之一需要全部变量，即 {example}。'
    ),
    '{name}={value}: a whole number is wanted.': '{name}={value}：应为整数。',
    # --- parallel/multihost ---
    (
        'process {process} of {processes} ({by}): for {seconds} s nothing has answered at {coordinator}, where process'
        ' 0 should be.\nSee that it is started, and that this machine reaches it; JAXLAB_WAIT=… waits longer.'
    ): (
        '进程 {process}（共 {processes} 个，依据：{by}）：{seconds} 秒内 {coordinator} 没有应答，进程 0 本应在那里。'
        '\n请确认它已启动，且本机能连到它；JAXLAB_WAIT=… 可以等得更久。'
    ),
    (
        'process {process} of {processes} ({by}): for {seconds} s it has waited for the others, and not all came.'
        '\nSee that all are started, with the same number of processes; JAXLAB_WAIT=… waits longer.'
    ): (
        '进程 {process}（共 {processes} 个，依据：{by}）：已等待其他进程 {seconds} 秒，但没有全部到来。'
        '\n请确认它们都已启动，且进程总数相同；JAXLAB_WAIT=… 可以等得更久。'
    ),
    (
        '{expected} devices are expected (JAXLAB_DEVICES), and {seen} are seen ({kind}, {processes} processes):'
        ' {others}.\nLook at these machines first.'
    ): (
        '应有 {expected} 个设备（JAXLAB_DEVICES），实际看到 {seen} 个（{kind}，{processes} 个进程）：{others}。'
        '\n请先检查这些机器。'
    ),
    'process {process} has {count}': '进程 {process} 有 {count} 个',
    # --- parallel/watch ---
    (
        'process {process} of {processes} on {host} is gone, and so all end. The same command goes on from the newest'
        ' checkpoint.'
    ): '{host} 上的进程 {process}（共 {processes} 个）已消失，因此全部结束。同一命令会从最新的检查点继续。',
    'process {process} of {processes} on {host} has ended, and so do all: {why}': (
        '{host} 上的进程 {process}（共 {processes} 个）已结束，因此全部结束：{why}'
    ),
    # --- parallel/group ---
    'launch/cluster.sh {given}: the number of processes comes first, as in launch/cluster.sh 2 --cpu_devices=4.': (
        'launch/cluster.sh {given}：第一个参数应为进程数，例如 launch/cluster.sh 2 --cpu_devices=4。'
    ),
    'launch/cluster.sh: {verb} is for one process; several can train.': (
        'launch/cluster.sh：{verb} 只用于单个进程；多个进程只能训练。'
    ),
    'process {process} of {processes} ended with code {code}, and so all end. It said:': (
        '进程 {process}（共 {processes} 个）以代码 {code} 结束，因此全部结束。它最后说：'
    ),
    (
        'process {process} of {processes} was ended by {signal}, and so all end. The same command goes on from the'
        ' newest checkpoint.'
    ): '进程 {process}（共 {processes} 个）被 {signal} 终止，因此全部结束。同一命令会从最新的检查点继续。',
    (
        'config.mesh uses {count} of {seen} devices, and process {process} has none of them: start fewer processes, or'
        ' make the axes larger.'
    ): ('config.mesh 使用 {seen} 个设备中的 {count} 个，而进程 {process} 一个也没有：请减少进程，或把轴设得更大。'),
    # --- trust/lock ---
    (
        '--workdir={workdir} is another folder on {host} than for process 0. Several machines want one that they share:'
        ' on a network disk, or in a store (gs://…).'
    ): (
        '--workdir={workdir} 在 {host} 上与进程 0 的不是同一个文件夹。多台机器需要一个共享的文件夹：在网络磁盘上，或在存储（gs://…）中。'
    ),
}
