# SPDX-License-Identifier: MIT
# bash completion for pvgpu(1)

_pvgpu_names() {
    local dir=${XDG_RUNTIME_DIR:-/run/user/$UID} path
    if [ -d "$dir" ]; then dir=$dir/pvgpu; else dir=/tmp/pvgpu-$UID; fi
    for path in "$dir"/*.sock; do
        [ -S "$path" ] || continue
        path=${path##*/}
        printf '%s\n' "${path%.sock}"
    done
}

_pvgpu() {
    local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
    local commands='run vhost-user vfio-user vtest devices status screenshot resize help version'
    # "--option=value" comes as three words.
    if [ "$current" = = ]; then
        current=
    elif [ "$previous" = = ]; then
        previous=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    COMPREPLY=()
    if [ "$COMP_CWORD" -eq 1 ]; then
        mapfile -t COMPREPLY < <(compgen -W "$commands" -- "$current")
        return
    fi
    case $previous in
    --socket-path | -s | --control | -o | --output | --kernel | -k | --initrd | -i | --firmware | --qemu | --console)
        compopt -o filenames
        mapfile -t COMPREPLY < <(compgen -f -- "$current")
        return
        ;;
    --name)
        mapfile -t COMPREPLY < <(compgen -W "$(_pvgpu_names)" -- "$current")
        return
        ;;
    --transport)
        mapfile -t COMPREPLY < <(compgen -W 'vfio-user vhost-user vhost-user-gpu' -- "$current")
        return
        ;;
    --accel)
        mapfile -t COMPREPLY < <(compgen -W 'kvm hvf tcg' -- "$current")
        return
        ;;
    --display)
        if [ "$command" = run ]; then
            mapfile -t COMPREPLY < <(compgen -W 'auto gtk sdl cocoa none png=' -- "$current")
            return
        fi
        mapfile -t COMPREPLY < <(compgen -W 'none png png=' -- "$current")
        return
        ;;
    --log-level)
        mapfile -t COMPREPLY < <(compgen -W 'error warning info debug' -- "$current")
        return
        ;;
    esac
    local words=
    case $command in
    run)
        if [[ $current != -* ]]; then
            compopt -o filenames
            mapfile -t COMPREPLY < <(compgen -f -- "$current")
            return
        fi
        words='--kernel= --initrd= --append= --snapshot --firmware= --memory= --smp= --ssh= --no-network --console= --display=
            --dma-buf --qemu= --transport= --accel= --dry-run --renderer= --device= --render-node= --window= --size= --outputs= --name= --control=
            --max-host-memory= --renderer-in-process --log-level= --help'
        ;;
    vhost-user)
        words='--socket-path= --fd= --print-capabilities --virgl --dma-buf --renderer= --device= --render-node= --renderer-in-process --emulate-portability --guest-vram --outputs= --size= --display= --window= --max-host-memory=
            --control= --name= --keep-listening --log-level= --help'
        ;;
    vfio-user)
        words='--socket-path= --fd= --renderer= --device= --render-node= --renderer-in-process --outputs= --size= --display= --window= --max-host-memory=
            --control= --name= --keep-listening --log-level= --help'
        ;;
    vtest)
        words='--socket-path= --fd= --renderer= --device= --render-node= --emulate-portability --guest-vram --dma-buf --max-clients=
            --max-client-memory= --control= --name= --log-level= --help'
        ;;
    devices) words='--json --emulate-portability --help' ;;
    status) words='--json --name= --control= --help' ;;
    screenshot) words='--output= --scanout= --no-cursor --name= --control= --help' ;;
    resize) words='--scanout= --off --name= --control= --help' ;;
    help) words=$commands ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
    if [[ ${COMPREPLY[0]-} == *= ]]; then compopt -o nospace; fi
}

complete -F _pvgpu pvgpu
